"""Damaged checkpoints, and those of another network or version, are found and named."""

import os
import shutil
from contextlib import closing
from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.runs import checkpoints
from jaxcxr.runs.checkpoints import Checkpoints, restore_best
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.state import create_state, initial_variables

SIZE = 16
LOSSES = (3.0, 1.0, 2.0, 4.0, 5.0, 6.0)  # the second epoch is the best


def history_of(epochs):
    return History(
        tuple({"epoch": n, "loss": LOSSES[n - 1]} for n in range(1, epochs + 1)),
    )


def variables_of(model, number=0):
    """All of one value: cheaper than drawing them."""
    shapes = jax.eval_shape(lambda: initial_variables(model, SIZE, seed=0))
    return jax.tree.map(
        lambda leaf: jax.device_put(np.full(leaf.shape, number, leaf.dtype)), shapes
    )


def state_of(model, number=0, **settings):
    transformation = cxr.adam(1e-3).transformation(1, 1)
    state = create_state(variables_of(model, number), transformation, **settings)
    return state.replace(step=jax.numpy.array(number))


@pytest.fixture(scope="module")
def written(tiny_model, tmp_path_factory):
    """A workdir with the epochs 2 (the best), 4 and 5; their parameters are their numbers."""
    workdir = tmp_path_factory.mktemp("run")
    with closing(Checkpoints(workdir)) as opened:
        for epoch in range(1, 6):
            opened.save(progress_of(tiny_model, epoch))
    return workdir


@pytest.fixture
def workdir(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def progress_of(model, epochs=0, **settings):
    """A training after some epochs of one step each, or of none."""
    return Progress(state_of(model, epochs, **settings), history_of(epochs), 9, {})


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def latest(workdir, like):
    with closing(Checkpoints(workdir)) as opened:
        return opened.restore_latest(like)


def test_the_best_and_the_latest_are_kept(written):
    assert sorted(os.listdir(written / "checkpoints")) == ["2", "4", "5"]


def damages(path):
    """Yields contents for a file: a bit flipped, cut, and None for a missing file."""
    content = path.read_bytes()
    middle = len(content) // 2
    yield content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    yield content[:middle]
    yield None


def test_damage_to_the_latest_is_found_and_the_one_before_is_used(tiny_model, workdir, capsys):
    """A few bytes of Orbax' own files change nothing that is read; then nothing is damaged."""
    like, folder, found = progress_of(tiny_model), workdir / "checkpoints/5", 0
    for path in files_of(folder):
        intact = path.read_bytes()
        for content in damages(path):
            path.unlink() if content is None else path.write_bytes(content)
            restored = latest(workdir, like)
            output = capsys.readouterr()
            epochs = len(restored.history)
            if epochs == 4:
                found += 1
                assert f"{folder} is damaged (" in output.out
                assert "; 4 before it is used instead" in output.out
            assert all((leaf == epochs).all() for leaf in jax.tree.leaves(restored.state.params))
            assert output.err == ""
            path.write_bytes(intact)
    assert found > 20
    assert len(latest(workdir, like).history) == 5


def flip_largest(folder):
    """Flips a bit of the arrays."""
    path = max((folder / "evaluated").rglob("d/*"), key=lambda path: path.stat().st_size)
    path.write_bytes(next(damages(path)))


def test_training_continues_over_damaged_checkpoints(tiny_model, workdir):
    flip_largest(workdir / "checkpoints/5")
    for epochs in (5, 6):
        with closing(Checkpoints(workdir)) as opened:
            assert len(opened.restore_latest(progress_of(tiny_model)).history) == epochs - 1
            opened.save(progress_of(tiny_model, epochs))
        assert len(latest(workdir, progress_of(tiny_model)).history) == epochs
    assert sorted(os.listdir(workdir / "checkpoints")) == ["2", "5", "6"]


def test_a_run_of_damaged_checkpoints_alone_is_refused(tiny_model, workdir):
    for name in ("2", "4", "5"):
        flip_largest(workdir / "checkpoints" / name)
    with pytest.raises(cxr.UserError, match=r"5 is damaged .*2 is damaged .*none is usable"):
        latest(workdir, progress_of(tiny_model))


def test_a_damaged_best_epoch_is_not_predicted_with(tiny_model, workdir):
    like = variables_of(tiny_model)
    assert restore_best(workdir, like)[1] == 2
    flip_largest(workdir / "checkpoints/2")
    with pytest.raises(cxr.UserError, match=r"checkpoints/2 is damaged .* may be the best epoch"):
        restore_best(workdir, like)


def test_an_epoch_whose_loss_is_not_known_might_be_the_best(tiny_model, workdir):
    like = variables_of(tiny_model)
    for name in ("5", "4"):
        shutil.rmtree(workdir / "checkpoints" / name / "run")
        with pytest.raises(cxr.UserError, match=rf"{name} is damaged .* may be the best epoch"):
            restore_best(workdir, like)
        shutil.rmtree(workdir / "checkpoints" / name)
    assert restore_best(workdir, like)[1] == 2


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (
            cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline(num_classes=5)),
            r"classifier/bias is float32\[14\] there and float32\[5\] here",
        ),
        (
            cxr.Classifier(cxr.ResNet18(blocks=(1, 1, 1), width=4), cxr.Baseline()),
            r"stage3\S* is missing there and float32\S* here",
        ),
    ],
    ids=["findings", "depth"],
)
def test_another_network_is_refused_and_the_difference_named(workdir, other, difference):
    with pytest.raises(cxr.UserError, match=rf"checkpoints/5 is of another network.*{difference}"):
        latest(workdir, progress_of(other))
    with pytest.raises(cxr.UserError, match=r"checkpoints/2 is of another network"):
        restore_best(workdir, variables_of(other))


def test_a_moving_average_cannot_be_taken_up_from_a_run_without(tiny_model, workdir):
    with pytest.raises(cxr.UserError, match=r"training/batch_stats\S* is missing there"):
        latest(workdir, progress_of(tiny_model, averaged=True))


def test_another_version_is_named_by_its_number(tiny_model, workdir, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 3)
    with pytest.raises(cxr.UserError, match=r"5 has format 2, written by jaxcxr 0.*expected 3"):
        latest(workdir, progress_of(tiny_model))


def test_everything_saved_is_restored(tiny_model, tmp_path):
    """Parameters, statistics, optimizer, average, position, losses so far, history, settings."""
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: rng.integers(1, 99, leaf.shape).astype(leaf.dtype),
        jax.tree.map(np.asarray, state_of(tiny_model, averaged=True)),
    )
    unfinished = UnfinishedEpoch((1.5, float("nan"), 0.1), skipped_before=2, seconds=7.25)
    with closing(Checkpoints(tmp_path)) as opened:
        opened.save(Progress(drawn, history_of(2), 9, {"seed": 3}, unfinished))
    with pytest.raises(cxr.UserError, match="seed is 3 there and 4 here"):
        latest(tmp_path, replace(progress_of(tiny_model, averaged=True), settings={"seed": 4}))
    restored = latest(tmp_path, progress_of(tiny_model, averaged=True))
    jax.tree.map(np.testing.assert_array_equal, restored.state, drawn)
    assert restored.history == history_of(2)
    assert repr(restored.unfinished) == repr(unfinished)  # NaN is not equal to itself


@pytest.mark.parametrize("name", ["6.orbax-checkpoint-tmp", ".deleted"])
def test_what_a_killed_process_left_half_written_is_removed(tiny_model, workdir, name):
    folder = workdir / "checkpoints"
    shutil.copytree(folder / "5", folder / name / "5")
    assert len(latest(workdir, progress_of(tiny_model)).history) == 5
    assert sorted(os.listdir(folder)) == ["2", "4", "5"]


@pytest.mark.parametrize("name", ["03", "٣", "0+01", "3+", " 3", "3a", "²"])
def test_folders_of_other_names_are_not_checkpoints(tiny_model, workdir, name):
    (workdir / "checkpoints" / name).mkdir()
    with closing(Checkpoints(workdir)) as opened:
        assert len(opened.restore_latest(progress_of(tiny_model)).history) == 5
        opened.save(progress_of(tiny_model, 6))
    assert sorted(os.listdir(workdir / "checkpoints")) == sorted(["2", "5", "6", name])
