"""What lies in a folder of checkpoints that `jaxcxr.training.checkpoints` did not write."""

import jax
import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.training import checkpoints
from jaxcxr.training.checkpoints import Position
from jaxcxr.training.history import History
from jaxcxr.training.state import create_state, initial_variables


@pytest.fixture
def state(tiny_model):
    variables = initial_variables(tiny_model, 16, seed=0)
    return create_state(variables, cxr.adam(1e-3).transformation(1, 2))


@pytest.fixture
def opened(tmp_path, state):
    """Two epochs, the parameters of which differ."""
    with checkpoints.open_checkpoints(tmp_path) as opened:
        for epoch in (1, 2):
            history = History(tuple({"epoch": n, "loss": 1 / n} for n in range(1, epoch + 1)))
            moved = jax.tree.map(lambda leaf, n=epoch: leaf + np.asarray(n, leaf.dtype), state)
            checkpoints.save(opened, moved, history)
        yield opened


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"null", b"\xff", b""])
def test_a_manifest_of_nonsense_is_a_damaged_checkpoint(opened, state, content):
    opened.wait()
    (opened.folder / "2/manifest.json").write_bytes(content)
    restored = checkpoints.restore_latest(opened, state)
    assert len(restored.history) == 1
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b + 1), restored.state, state)


@pytest.mark.parametrize("name", ["03", "٣", "0+01", "3+", "+3", "3+0", " 3", "3a"])
def test_folders_of_other_names_are_no_checkpoints(opened, state, name):
    opened.wait()
    (opened.folder / name).mkdir()
    assert Position.parse(name) is None
    assert len(checkpoints.restore_latest(opened, state).history) == 2
