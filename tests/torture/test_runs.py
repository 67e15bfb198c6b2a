"""Folders of runs whose checkpoints or settings were damaged, for training and for prediction."""

import json
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given

import jaxcxr as cxr
from jaxcxr.models import classifier_config
from jaxcxr.runs.checkpoints import Checkpoints
from jaxcxr.runs.workdir import claim_workdir
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History
from jaxcxr.training.state import create_state, initial_variables
from tests.torture.damage import damaged
from tests.torture.limits import campaign, read_or_refuse

EPOCHS, BEST = 3, 2
NETWORK = cxr.Classifier(cxr.ResNet18(blocks=(1,), width=2), cxr.Baseline())
CONFIG = {"model": classifier_config(NETWORK), "data": {"image_size": 16}, "seed": 0}


def state_of(epoch):
    """Returns a state in which every number gives its epoch."""
    transformation = cxr.adam(1e-3).transformation(1, EPOCHS)
    first = create_state(initial_variables(NETWORK, 16, seed=0), transformation)
    return jax.tree.map(lambda leaf: leaf + np.asarray(epoch, leaf.dtype), first)


def history_of(epochs):
    """Returns a history whose best epoch is `BEST`."""
    losses = [abs(epoch - BEST) + 0.5 for epoch in range(1, epochs + 1)]
    return History(
        tuple({"epoch": n, "loss": loss, "val_loss": loss} for n, loss in enumerate(losses, 1))
    )


def write_run(workdir):
    """Writes a run of three epochs, the best of which is the second."""
    claim_workdir(workdir, CONFIG)
    with closing(Checkpoints(workdir, keep=EPOCHS)) as opened:
        for epoch in range(1, EPOCHS + 1):
            opened.save(Progress(state_of(epoch), history_of(epoch), EPOCHS, CONFIG))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("original")
    write_run(workdir)
    return workdir, {epoch: state_of(epoch) for epoch in range(1, EPOCHS + 1)}


@pytest.fixture
def copy(original, tmp_path):
    """Returns a function that makes a fresh copy of the run."""

    def copy():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return Path(shutil.copytree(original[0], tmp_path / "run"))

    return copy


def assert_same_bits(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def resume(run, states, changed):
    """Resumes the training: the latest epoch that was not changed must serve."""

    def restore():
        with closing(Checkpoints(run)) as opened:
            return opened.restore_latest(Progress(states[1], History(), EPOCHS, CONFIG))

    found = read_or_refuse(restore, names=str(run))
    assert found is not None or len(changed) == EPOCHS
    if found is not None:
        epochs = len(found.history)
        assert epochs >= max({1, 2, 3} - changed, default=1)
        assert found.history == history_of(epochs)
        assert_same_bits(found.state, states[epochs])


def predict(run, states, changed):
    """Loads the trained network: that of the best epoch, or a refusal."""
    found = read_or_refuse(partial(cxr.Predictor.from_run, run), names=str(run))
    assert found is not None or changed
    if found is not None:
        assert (found.model, found.image_size, found.epoch) == (NETWORK, 16, BEST)
        assert_same_bits(found.variables, states[BEST].evaluated)


USES = st.sampled_from((resume, predict))


@campaign(0.035)
@given(USES, st.data(), st.lists(st.integers(1, EPOCHS), max_size=3))
def test_damaged_checkpoint_is_not_used(original, copy, use, data, epochs):
    """A few files of some checkpoints: damaged, missing, replaced."""
    run, changed = copy(), set()
    for epoch in epochs:
        folder = run / "checkpoints" / str(epoch)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            continue
        path = data.draw(st.sampled_from([files[0], *files]))  # the checksums, or any
        content = path.read_bytes()
        replacements = [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000]
        other = st.none() | st.sampled_from(replacements) | st.sampled_from(["folder", "link"])
        other = data.draw((damaged(content) if content else other) | other)
        changed |= {epoch} if other != content else set()
        path.unlink()
        if other == "folder":
            path.mkdir()
        elif other == "link":
            path.symlink_to("nowhere")
        elif isinstance(other, bytes):
            path.write_bytes(other)
    use(run, original[1], changed)


@campaign(0.012)
@given(st.data())
def test_damaged_or_edited_config_is_refused_or_means_the_same(original, copy, data):
    """The settings of a run give its network; the checkpoint knows what they should be."""
    run = copy()
    path = run / "config.json"
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content) | edited_json(content)))
    predict(run, original[1], {BEST})


@st.composite
def edited_json(draw, content):
    """A value somewhere in the tree is another one, or missing."""
    top = tree = json.loads(content)
    key = draw(st.sampled_from(list(tree)))
    while isinstance(tree[key], dict) and tree[key] and draw(st.integers(0, 4)):
        tree = tree[key]
        key = draw(st.sampled_from(list(tree)))
    del tree[key]
    values = (True, 0, -1, 1, 3, 10**30, 1.5, "", "x", [], [1], ["a"], [10**9], {}, None)
    if draw(st.integers(0, 4)):
        tree[key] = draw(st.sampled_from(values))
    return json.dumps(top).encode()
