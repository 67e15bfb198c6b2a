"""A training that was left at any place ends as one that was not."""

import csv
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.history import UnfinishedEpoch
from tests.tiny import make_split

REPOSITORY = Path(__file__).parents[2]
EPOCHS, STEPS = 3, 4
TIMES = ("seconds", "images_per_second")


class LeaveAt(cxr.Callback):
    """Interrupts the training when it is asked for the n-th time whether to."""

    def __init__(self, count):
        self.left = count

    def interruption(self):
        self.left -= 1
        return "a test" if self.left < 0 else None


def train(model, *callbacks, **settings):
    return cxr.fit(
        model,
        make_split(16 * STEPS + 3),
        validation_data=make_split(20, seed=1),
        epochs=EPOCHS,
        batch_size=16,
        optimizer=cxr.adam(1e-2, cosine=True),
        augmentation=Augmentation(horizontal_flip=True),
        ema_decay=0.8,
        callbacks=callbacks,
        verbose=False,
        **settings,
    )


def without_times(history):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history.epochs]


@pytest.fixture(scope="module")
def whole(tiny_model):
    return train(tiny_model)


@pytest.mark.parametrize("count", [0, 1, 2, STEPS, STEPS + 1, STEPS + 2, STEPS + 3, 2 * STEPS])
def test_left_anywhere_it_ends_with_the_same_bits(tiny_model, whole, tmp_path, count):
    """Before the first step, within an epoch, after its last step, while it is validated …"""
    csv_file = tmp_path / "history.csv"
    interrupted = 0  # later each time: a validation that is left begins anew
    while True:
        saved = [cxr.ModelCheckpoint(tmp_path), cxr.CSVLogger(csv_file)]
        run = train(tiny_model, *saved, LeaveAt(count + interrupted))
        if run.interrupted is None:
            break
        assert run.interrupted == "a test"
        interrupted += 1
    assert interrupted > 0
    jax.tree.map(np.testing.assert_array_equal, run.variables, whole.variables)
    assert without_times(run.history) == without_times(whole.history)
    with open(csv_file, newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_steps_within_an_epoch_are_saved(tiny_model, whole, tmp_path):
    """Broken off by an error, a training loses the steps since the last checkpoint at most."""

    class Fail(cxr.Callback):
        def __init__(self):
            self.steps = 0

        def pauses_after(self, step):
            self.steps += 1
            if self.steps == 2 * STEPS:
                raise KeyError("broken off")
            return False

    with pytest.raises(KeyError):
        train(tiny_model, cxr.ModelCheckpoint(tmp_path, every=3), Fail())
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["1", "1+3"]
    count = Fail()
    count.steps = -100
    run = train(tiny_model, cxr.ModelCheckpoint(tmp_path, every=3), count)
    assert count.steps + 100 == EPOCHS * STEPS - (STEPS + 3)
    jax.tree.map(np.testing.assert_array_equal, run.variables, whole.variables)
    assert without_times(run.history) == without_times(whole.history)


def test_history_csv_is_brought_in_line_with_the_checkpoint(tiny_model, tmp_path):
    path = tmp_path / "history.csv"
    train(tiny_model, cxr.ModelCheckpoint(tmp_path), cxr.CSVLogger(path))
    right = path.read_text()
    path.write_text("".join(right.splitlines(keepends=True)[:-1]))  # killed before it was written
    train(tiny_model, cxr.CSVLogger(path), cxr.ModelCheckpoint(tmp_path))
    assert path.read_text() == right
    written = path.stat().st_mtime_ns
    train(tiny_model, cxr.CSVLogger(path), cxr.ModelCheckpoint(tmp_path))
    assert path.stat().st_mtime_ns == written


def test_a_split_can_be_started_anywhere():
    split = make_split(50)
    for seed in (None, 3):
        batches = list(split.batches(8, seed=seed, epoch=2))
        for start in range(len(batches) + 2):
            rest = list(split.batches(8, seed=seed, epoch=2, start_batch=start))
            assert len(rest) == max(0, len(batches) - start)
            for ours, theirs in zip(rest, batches[start:], strict=True):
                jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_settings_in_the_checkpoint_are_compared(tiny_model, tmp_path):
    """config.json may be lost or replaced; the checkpoint knows, too, what it is of."""
    train(tiny_model, cxr.ModelCheckpoint(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(cxr.UserError, match="seed is 0 there and 1 here"):
        train(tiny_model, cxr.ModelCheckpoint(tmp_path), seed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"every": -1}, "checkpoint_every is -1"), ({"keep": 0}, "keep_checkpoints is 0")],
)
def test_unfit_intervals_are_named(tmp_path, arguments, message):
    with pytest.raises(cxr.UserError, match=message):
        cxr.ModelCheckpoint(tmp_path, **arguments)


def test_skipped_steps_are_counted_over_epochs():
    nan = float("nan")
    assert UnfinishedEpoch((1.0, nan, nan)).skipped_in_a_row == 2
    assert UnfinishedEpoch((nan, nan), skipped_before=3).skipped_in_a_row == 5
    assert UnfinishedEpoch((nan, 2.0), skipped_before=3).skipped_in_a_row == 0
    assert UnfinishedEpoch((nan, 2.0, 4.0)).mean_loss == 3
    assert np.isnan(UnfinishedEpoch((nan,)).mean_loss)


def test_killed_at_random_moments_nothing_shows():
    """A short part of the torture; see tests/torture/kill_training.py."""
    program = REPOSITORY / "tests/torture/kill_training.py"
    done = subprocess.run(
        [sys.executable, str(program), "--kills=4", "--seed=3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
