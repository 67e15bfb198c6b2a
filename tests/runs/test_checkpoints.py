"""Damaged checkpoints, and those of another network or version, are found and named."""

import copy
import json
import os
import shutil

import jax
import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.models import classifier_config
from jaxcxr.runs import checkpoints
from jaxcxr.runs.checkpoints import open_checkpoints, restore_best, restore_latest, save
from jaxcxr.runs.workdir import different_settings
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.state import create_state, initial_variables

SIZE = 16
LOSSES = (3.0, 1.0, 2.0, 4.0, 5.0)  # the second epoch is the best


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
    return create_state(variables_of(model, number), transformation, **settings)


@pytest.fixture(scope="module")
def written(tiny_model, tmp_path_factory):
    """A workdir with the epochs 2 (the best), 4 and 5; their parameters are their numbers."""
    workdir = tmp_path_factory.mktemp("run")
    with open_checkpoints(workdir) as opened:
        for epoch in range(1, 6):
            save(opened, state_of(tiny_model, epoch), history_of(epoch))
    return workdir


@pytest.fixture
def workdir(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def latest(workdir, like):
    with open_checkpoints(workdir) as opened:
        return restore_latest(opened, like)


def test_the_best_and_the_latest_are_kept(written):
    assert sorted(os.listdir(written / "checkpoints")) == ["2", "4", "5"]


def test_every_damage_to_the_newest_is_found(tiny_model, workdir, capsys):
    """Each of its files once with a bit flipped, once cut off, once gone."""
    like = state_of(tiny_model)
    folder = workdir / "checkpoints/5"
    files = files_of(folder)
    assert len(files) > 3
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for content in (flipped, whole[:middle], None):
            path.unlink() if content is None else path.write_bytes(content)
            restored = latest(workdir, like)
            said = capsys.readouterr().out
            assert f"{folder} is damaged ({path.relative_to(folder)} " in said
            assert "; 4 before it is used instead" in said
            assert len(restored.history) == 4
            assert all((leaf == 4).all() for leaf in jax.tree.leaves(restored.state.params))
            path.write_bytes(whole)
    assert len(latest(workdir, like).history) == 5


def test_a_run_of_damaged_checkpoints_alone_is_refused(tiny_model, workdir):
    for name in ("2", "4", "5"):
        (workdir / "checkpoints" / name / "manifest.json").write_text("{")
    with pytest.raises(cxr.UserError, match=r"5 is damaged .*2 is damaged .*none is usable"):
        latest(workdir, state_of(tiny_model))


def test_a_damaged_best_epoch_is_not_predicted_with(tiny_model, workdir):
    like = variables_of(tiny_model)
    assert restore_best(workdir, like)[1] == 2
    largest = max(files_of(workdir / "checkpoints/2"), key=lambda path: path.stat().st_size)
    with open(largest, "r+b") as file:
        file.truncate(10)
    with pytest.raises(cxr.UserError, match=r"2, the best epoch, is damaged .*best of .* 4, 5"):
        restore_best(workdir, like)


def test_an_epoch_whose_loss_is_not_known_might_be_the_best(tiny_model, workdir):
    like = variables_of(tiny_model)
    for name in ("4", "5"):
        (workdir / "checkpoints" / name / "manifest.json").write_text("{")
    with pytest.raises(cxr.UserError, match=r"4 is damaged, so which epoch is best is not known"):
        restore_best(workdir, like)
    shutil.rmtree(workdir / "checkpoints/4")
    shutil.rmtree(workdir / "checkpoints/5")
    assert restore_best(workdir, like)[1] == 2


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (
            cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline(num_classes=5)),
            r"classifier/bias is float32\[14\] there and float32\[5\] here",
        ),
        (
            cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=8), cxr.Baseline()),
            r"is float32\[4\] there and float32\[8\] here",
        ),
        (
            cxr.Classifier(cxr.ResNet18(blocks=(1, 1, 1), width=4), cxr.Baseline()),
            r"stage3\S* is missing there and float32\S* here",
        ),
    ],
    ids=["findings", "width", "depth"],
)
def test_another_network_is_refused_and_the_difference_named(workdir, other, difference):
    with pytest.raises(cxr.UserError, match=rf"checkpoints/5 is of another network.*{difference}"):
        latest(workdir, state_of(other))
    with pytest.raises(cxr.UserError, match=r"checkpoints/2 is of another network"):
        restore_best(workdir, variables_of(other))


def test_a_moving_average_cannot_be_taken_up_from_a_run_without(tiny_model, workdir):
    with pytest.raises(cxr.UserError, match=r"training/variables\S* is missing there"):
        latest(workdir, state_of(tiny_model, averaged=True))


def test_another_version_is_named_by_its_number(tiny_model, workdir):
    path = workdir / "checkpoints/5/manifest.json"
    manifest = json.loads(path.read_bytes())["manifest"] | {"format": 0, "jaxcxr": "0.0.9"}
    checksum = checkpoints._sha256_of(manifest)
    path.write_text(json.dumps({"sha256": checksum, "manifest": manifest}))
    with pytest.raises(cxr.UserError, match=r"5 has format 0, written by jaxcxr 0\.0\.9; .* 1\."):
        latest(workdir, state_of(tiny_model))


def test_everything_saved_is_restored(tiny_model, tmp_path):
    """Parameters, statistics, optimizer, average, position, losses so far, history, settings."""
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: rng.integers(1, 99, leaf.shape).astype(leaf.dtype),
        jax.tree.map(np.asarray, state_of(tiny_model, averaged=True)),
    )
    unfinished = UnfinishedEpoch((1.5, float("nan"), 0.1), skipped_before=2, seconds=7.25)
    with open_checkpoints(tmp_path) as opened:
        save(opened, drawn, history_of(2), unfinished, {"seed": 3})
    restored = latest(tmp_path, state_of(tiny_model, averaged=True))
    jax.tree.map(np.testing.assert_array_equal, restored.state, drawn)
    assert restored.history == history_of(2)
    assert repr(restored.unfinished) == repr(unfinished)  # NaN is not equal to itself
    assert restored.settings == {"seed": 3}


def test_what_a_killed_process_left_half_written_is_removed(tiny_model, workdir):
    folder = workdir / "checkpoints"
    shutil.copytree(folder / "5", folder / ".partial-abc/items")
    with open_checkpoints(workdir) as opened:
        checkpoints.remove_leftovers(opened)
    assert sorted(os.listdir(folder)) == ["2", "4", "5"]


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"null", b"\xff", b""])
def test_a_manifest_of_nonsense_is_a_damaged_checkpoint(tiny_model, workdir, content):
    (workdir / "checkpoints/5/manifest.json").write_bytes(content)
    assert len(latest(workdir, state_of(tiny_model)).history) == 4


@pytest.mark.parametrize("name", ["03", "٣", "0+01", "3+", "+3", "3+0", " 3", "3a"])
def test_folders_of_other_names_are_no_checkpoints(tiny_model, workdir, name):
    (workdir / "checkpoints" / name).mkdir()
    assert checkpoints.Position.parse(name) is None
    assert len(latest(workdir, state_of(tiny_model)).history) == 5


def test_a_field_that_an_earlier_version_did_not_have_is_at_its_default(tiny_model):
    now = {"model": classifier_config(tiny_model)}
    earlier = copy.deepcopy(now)
    del earlier["model"]["head"]["lse_positions"]
    assert different_settings(earlier, now) == []
    now["model"]["head"]["lse_positions"] = "side"
    assert different_settings(earlier, now) == [
        "model.head.lse_positions is 'all' there and 'side' here"
    ]
