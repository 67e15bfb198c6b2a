"""Short parts of the campaigns that take long."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxcxr as cxr
from tests.programs import REPOSITORY
from tests.tiny import tiny_study


def run_kills(*words):
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.kill", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["kills"]


def test_killed_phantom_is_made_again_as_if_undisturbed():
    assert run_kills("--kills=2", "--programs", "make_phantom") == {"make_phantom": 2}


@pytest.mark.slow
def test_killed_training_resumes_with_the_same_bits():
    """In `make test`: tests/runs/test_resume.py, which interrupts it within one process."""
    assert run_kills("--kills=4", "--seed=3", "--programs", "train")["train"] == 4


class Watch(cxr.Callback):
    """Reads what this process holds after each epoch: megabytes, open files, threads."""

    def __init__(self):
        self.samples = []

    def on_epoch_end(self, epoch, logs):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held = (pages * os.sysconf("SC_PAGE_SIZE") / 1e6, *(
            len(os.listdir(f"/proc/self/{folder}")) for folder in ("fd", "task")
        ))  # fmt: skip
        self.samples.append(held)


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["streamed", "host"])
def test_long_training_grows_by_nothing(tmp_path, placement):
    """40 epochs of LONG_RUN_STEPS steps together; after the first ten all stays as it is.

    Of files and threads the fewest count: an epoch may end before its readers have. No quicker
    test does this: one that is lost in an epoch shows after many.
    """
    steps, epochs = int(os.environ.get("LONG_RUN_STEPS", 160)), 40
    tiny_study(tmp_path, images=4 * steps // epochs)
    data, watch = cxr.data.load(tmp_path, image_size=64), Watch()
    cxr.fit(
        cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline()),
        data.train,
        validation_data=data.validation,
        epochs=epochs,
        batch_size=2,
        optimizer=cxr.adam(1e-4),
        ema_decay=0.99,
        data_placement=placement,
        verbose=False,
        callbacks=[
            cxr.BackupAndRestore(tmp_path / "run", every=2),
            cxr.CSVLogger(tmp_path / "run/history.csv"),
            cxr.TensorBoard(tmp_path / "run/tensorboard"),
            watch,
        ],
    )
    early, late = np.array(watch.samples[10:20]), np.array(watch.samples[-10:])
    assert np.median(late[:, 0]) < 1.05 * np.median(early[:, 0])
    assert (late[:, 1:].min(axis=0) - early[:, 1:].min(axis=0) < epochs / 4).all()
