"""Disks that are full, closed or gone: one clear line, and nothing half-written.

Limits of the operating system stand in for the disks: they work without a mount.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

import jaxcxr as cxr
from jaxcxr.data import load, phantom, prepare, read_release
from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.files import remove_file
from jaxcxr.models.weights.model_folder import save_backbone
from jaxcxr.models.weights.torch_files import write_torch_file
from jaxcxr.runs import lock, workdir
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History
from tests.data.conftest import write_release
from tests.disks import no_permission, no_space

REPOSITORY = Path(__file__).parents[1]
TIMES = ["seconds", "images_per_second"]
NOISE = np.random.default_rng(0)

RECORD = {"loss": 1.0, "val_loss": 2.0, "learning_rate": 0.1, "images_per_second": 3.0}
PROGRESS = Progress(None, History(({"epoch": 1, **RECORD},)), 3, {})  # pyright: ignore
WEIGHTS = {"params": {"backbone": {"kernel": NOISE.random((100, 100), np.float32)}}}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return read_release(write_release(tmp_path_factory.mktemp("noise") / "release").root)


def write_pickled(folder: Path, _) -> None:
    pytest.importorskip("torch")
    write_torch_file(folder / "weights.pt", WEIGHTS["params"]["backbone"])


def end_epoch(callback: cxr.Callback) -> None:
    callback.set_progress(PROGRESS)
    callback.on_epoch_end(1, PROGRESS.history.epochs[-1])


OUTPUTS = {
    "prepared dataset": lambda folder, release: prepare(release, folder / "data", image_size=64),
    "phantom": lambda folder, _: phantom.write_release(folder / "phantom", 8, 64, seed=0, jobs=1),
    "config.json": lambda folder, _: workdir.claim_workdir(folder, {"note": "x" * 5000}),
    "history.csv": lambda folder, _: end_epoch(cxr.CSVLogger(folder / "history.csv")),
    "events": lambda folder, _: end_epoch(cxr.TensorBoard(folder / "events")),
    "lock": lambda folder, _: lock.acquire(folder / "run").release(),
    "weights": lambda folder, _: save_backbone(folder / "weights", cxr.ResNet18(), WEIGHTS),
    "safetensors": lambda folder, _: write_torch_file(
        folder / "weights.safetensors", WEIGHTS["params"]["backbone"]
    ),
    "table": lambda folder, _: tables.write(pd.DataFrame(NOISE.random((500, 3))), folder / "a.csv"),
    "pt": write_pickled,
}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("fault", ["full", "closed"])
def test_a_disk_that_takes_nothing(tmp_path, release, output, fault):
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        no_space() if fault == "full" else no_permission(disk),
        pytest.raises(UserError, match=r"cannot be (written|made): .*(large|space|denied)"),
    ):
        OUTPUTS[output](disk, release)
    left = {path.name for path in disk.rglob("*") if path.is_file()}
    assert left <= {".lock"}  # empty; filelock leaves it in place
    OUTPUTS[output](disk, release)


def test_a_file_that_cannot_be_removed(tmp_path):
    (tmp_path / "file").touch()
    with no_permission(tmp_path), pytest.raises(UserError, match="cannot be removed: Permission"):
        remove_file(tmp_path / "file")
    remove_file(tmp_path / "file")
    remove_file(tmp_path / "file")


def test_what_is_prepared_can_be_read_from_a_read_only_disk(tmp_path):
    folder = write_release(tmp_path / "release", patients=10)
    folder.image("00000003_000.png").unlink()
    release = read_release(folder.root, allow_missing=True)
    disk = tmp_path / "disk"
    done = prepare(release, disk, image_size=16)
    with no_permission(disk):
        again = prepare(release, disk, image_size=16)
        assert again.reused
        assert again.left_out == done.left_out == {"00000003_000.png": "no file"}
        assert len(list(load(disk, 16).train.batches(4))) == 4


class AfterAnEpoch(cxr.Callback):
    """Lets something happen when the first epoch is saved."""

    def __init__(self, run: Path, happen: Callable[[], object]):
        self.checkpoints = run / "checkpoints"
        self.happen = happen

    def on_epoch_end(self, epoch, logs):
        if epoch > 1:
            return
        deadline = time.monotonic() + 60
        while not all(map(str.isdecimal, os.listdir(self.checkpoints) or [""])):  # temporary names
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.happen()


def train(model, run: Path, data: Path, *first: cxr.Callback, **settings) -> cxr.Run:
    splits = load(data, 16)
    return cxr.fit(
        model,
        splits.train,
        validation_data=splits.validation,
        epochs=3,
        batch_size=16,
        optimizer=cxr.adam(1e-2),
        verbose=False,
        callbacks=[
            cxr.BackupAndRestore(run),
            cxr.CSVLogger(run / "history.csv"),
            cxr.TensorBoard(run / "tensorboard"),
            *first,
        ],
        **settings,
    )


@pytest.fixture(scope="module")
def tiny_model():
    return cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline())


@pytest.fixture(scope="module")
def dataset(release, tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    prepare(release, folder, image_size=16)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tiny_model, dataset, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed")
    return train(tiny_model, run, dataset), run


def assert_same(ours: cxr.Run, our_folder: Path, theirs: cxr.Run, their_folder: Path) -> None:
    jax.tree.map(np.testing.assert_array_equal, ours.variables, theirs.variables)
    a, b = (pd.read_csv(run / "history.csv") for run in (our_folder, their_folder))
    pd.testing.assert_frame_equal(a.drop(columns=TIMES), b.drop(columns=TIMES))
    a, b = (sorted(os.listdir(run / "checkpoints")) for run in (our_folder, their_folder))
    assert a == b
    a, b = (len(os.listdir(run / "tensorboard")) for run in (our_folder, their_folder))
    assert a >= b


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's tasks
@pytest.mark.parametrize("fault", ["full", "limited", "closed"])
def test_training_resumes_when_there_is_space_again(
    tiny_model, dataset, undisturbed, tmp_path, capfd, fault
):
    run = tmp_path / "run"
    with contextlib.ExitStack() as stack:

        def happen() -> None:
            if fault == "closed":
                stack.enter_context(no_permission(run))
            elif fault == "limited":
                stack.enter_context(no_space())
            else:
                patch = stack.enter_context(pytest.MonkeyPatch.context())
                patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))

        with pytest.raises(UserError, match=r"run/(checkpoints/2|history.csv) cannot be wri"):
            train(tiny_model, run, dataset, AfterAnEpoch(run, happen))
    if fault != "limited":
        assert "Traceback" not in capfd.readouterr().err
    if fault != "closed":  # there it cannot be removed; the next run takes it over
        assert "lock.json" not in os.listdir(run)
    assert {name for name in os.listdir(run / "checkpoints") if name.isdecimal()} <= {"1", "2"}
    assert len(pd.read_csv(run / "history.csv")) in (1, 2)
    assert_same(train(tiny_model, run, dataset), run, *undisturbed)


def test_workdir_that_vanishes_is_reported(tiny_model, dataset, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"lock\.json is gone: the folder was removed"):
        train(tiny_model, run, dataset, AfterAnEpoch(run, lambda: shutil.rmtree(run)))
    assert not run.exists()


SHARD = "chest_xray14-train.tfrecord-00000-of-00001"


def test_training_stops_when_its_data_fail_and_resumes_after(
    tiny_model, dataset, undisturbed, tmp_path
):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(dataset, data)
    shard = next(data.rglob(SHARD))
    with pytest.raises(UserError, match=f"{SHARD}: the record file is missing"):
        train(tiny_model, run, data, AfterAnEpoch(run, shard.unlink))
    shutil.copytree(dataset, data, dirs_exist_ok=True)
    assert_same(train(tiny_model, run, data), run, *undisturbed)


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ('"$@" >&-; echo status $? >&2', "status 0"),
        ('{ "$@"; echo status $? >&2; } | :', "Broken pipe; fix that and start again\nstatus 1"),
        ('"$@" >/dev/full; echo status $? >&2', "error: a file, or what .* prints, .*\nstatus 1"),
    ],
)
def test_output_without_a_reader_or_without_space(tmp_path, shell, expected):
    """Standard output that is closed is not an error; a pipe whose reader has gone is reported."""
    program = [sys.executable, str(REPOSITORY / "launch/make_phantom.py"), f"--out={tmp_path}/a"]
    command = ["sh", "-c", shell, "sh", *program, "--images=8", "--image_size=64", "--jobs=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(expected, done.stderr)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
