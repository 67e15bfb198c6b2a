"""A training that was left at any place ends as one that was not."""

import csv
import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcxr as cxr
from jaxcxr.inference.predictor import Predictor
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.losses import focal_loss, loss_name, weighted_cross_entropy
from jaxcxr.training.state import initial_variables
from tests.tiny import make_split

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
        augmentation=Augmentation(horizontal_flip=True),
        ema_decay=0.8,
        callbacks=callbacks,
        **{"optimizer": cxr.adam(1e-2, cosine=True), "verbose": False, **settings},
    )


def without_times(history):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history.epochs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(tiny_model, folder):
    return train(tiny_model, cxr.BackupAndRestore(folder))


@pytest.mark.parametrize("count", [0, 1, 2, STEPS, STEPS + 1, STEPS + 2, STEPS + 3, 2 * STEPS])
def test_left_anywhere_it_ends_with_the_same_bits(tiny_model, whole, tmp_path, count):
    """Before the first step, within an epoch, after its last step, while it is validated …"""
    csv_file = tmp_path / "history.csv"
    interrupted = 0  # later each time: an interrupted validation starts again
    while True:
        saved = [cxr.BackupAndRestore(tmp_path), cxr.CSVLogger(csv_file)]
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
        train(tiny_model, cxr.BackupAndRestore(tmp_path, every=3), Fail())
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["4", "7"]  # number of steps
    count = Fail()
    count.steps = -100
    run = train(tiny_model, cxr.BackupAndRestore(tmp_path, every=3), count)
    assert count.steps + 100 == EPOCHS * STEPS - (STEPS + 3)
    jax.tree.map(np.testing.assert_array_equal, run.variables, whole.variables)
    assert without_times(run.history) == without_times(whole.history)


def test_history_csv_is_brought_in_line_with_the_checkpoint(tiny_model, tmp_path):
    path = tmp_path / "history.csv"
    train(tiny_model, cxr.BackupAndRestore(tmp_path), cxr.CSVLogger(path))
    right = path.read_text()
    path.write_text("".join(right.splitlines(keepends=True)[:-1]))  # killed before it was written
    train(tiny_model, cxr.CSVLogger(path), cxr.BackupAndRestore(tmp_path))
    assert path.read_text() == right


def own_loss(logits, labels, mask):
    return (logits**2).mean()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"loss": functools.partial(focal_loss, gamma=1.0)},
            r"loss_function is 'weighted_cross_entropy' there and 'focal_loss\(gamma=1\.0\)' here",
        ),
        (
            {"optimizer": optax.sgd(0.1)},
            r"optimizer\.function is 'jaxcxr\.Adam' there and 'given' h",
        ),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        (
            {"callbacks": [cxr.EarlyStopping(restore_best_weights=True)]},
            "restore_best_weights is False there and True here",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.usefixtures("whole")
def test_resuming_with_other_settings_is_refused(tiny_model, folder, tmp_path, other, message):
    """Where config.json is lost, too: the checkpoint has the settings."""
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run/config.json").unlink()
    callbacks = (cxr.BackupAndRestore(tmp_path / "run"), *other.pop("callbacks", ()))
    with pytest.raises(cxr.UserError, match=message):
        train(tiny_model, *callbacks, **other)


@pytest.mark.usefixtures("whole")
def test_resuming_with_other_weights_is_refused(tiny_model, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    weights = initial_variables(tiny_model, 16, seed=5)
    with pytest.raises(cxr.UserError, match="'random' there and 'sha256:"):
        train(tiny_model, cxr.BackupAndRestore(tmp_path / "run"), initial_weights=weights)


def test_the_best_weights_are_the_runs_when_asked_for_also_after_a_restart(tiny_model, tmp_path):
    class Watch(cxr.Callback):
        seen = {}  # noqa: RUF012

        def on_epoch_end(self, epoch, logs):
            self.seen[epoch] = jax.tree.map(np.array, self.progress.state.evaluated)

    def epochs(number):
        return cxr.fit(
            tiny_model,
            make_split(64),
            validation_data=make_split(20, seed=1),
            epochs=number,
            batch_size=16,
            optimizer=optax.sgd(0.3),
            callbacks=[
                cxr.EarlyStopping(patience=9, restore_best_weights=True),
                cxr.BackupAndRestore(tmp_path / "backup"),
                cxr.ModelCheckpoint(tmp_path / "best", save_best_only=True),
                Watch(),
            ],
            verbose=False,
        )

    for number in (3, 6):
        run = epochs(number)
    best = run.history.best_epoch()
    assert best < 6, run.history["val_loss"]  # else the last epoch's weights would do
    jax.tree.map(np.testing.assert_array_equal, run.variables, Watch.seen[best])
    for folder in ("backup", "best"):
        predictor = Predictor.from_run(tmp_path / folder)
        assert predictor.epoch == best
        jax.tree.map(np.testing.assert_array_equal, predictor.variables, run.variables)
    assert [path.name for path in (tmp_path / "best/checkpoints").iterdir()] == [str(4 * best)]
    train(tiny_model, cxr.ModelCheckpoint(tmp_path / "best2"))
    with pytest.raises(cxr.UserError, match="holds an earlier run, and ModelCheckpoint does not"):
        train(tiny_model, cxr.ModelCheckpoint(tmp_path / "best2"))


def test_a_run_without_a_finite_validation_loss_has_no_usable_epoch(tiny_model, tmp_path, capsys):
    def diverged(logits, labels, mask):
        return jnp.where(mask.shape[0] == 20, jnp.nan, (logits**2).mean())  # the validation split

    run = train(tiny_model, cxr.BackupAndRestore(tmp_path), loss=diverged, verbose=True)
    assert run.history.best_epoch() is None
    assert "best so far" not in capsys.readouterr().out
    with pytest.raises(cxr.UserError, match="no finished epoch with a finite value"):
        Predictor.from_run(tmp_path)


def test_losses_are_recognized_by_their_names_and_settings():
    changed = functools.partial(functools.partial(focal_loss, gamma=1.0), label_smoothing=0.0)
    assert loss_name(functools.partial(focal_loss, label_smoothing=0.0)) == "focal_loss"
    assert loss_name(changed) == "focal_loss(gamma=1.0)"
    assert loss_name(own_loss) == "tests.runs.test_resume.own_loss"


@pytest.mark.parametrize("worst", [0.0, np.nan])
def test_the_best_epoch_of_a_model_checkpoint_is_that_of_its_monitor(tiny_model, tmp_path, worst):
    """The last epoch, whatever its loss."""
    seen = []

    def epochs_seen(logits, labels):
        seen.append(logits)
        return len(seen)

    def loss(logits, labels, mask):
        of_epoch = weighted_cross_entropy(logits, labels, mask)
        return of_epoch + (worst if mask.shape[0] == 8 else 0.0)  # 8: the validation split

    run = cxr.fit(
        tiny_model,
        make_split(32),
        validation_data=(data := make_split(8, seed=1)),
        epochs=4,
        batch_size=16,
        optimizer=cxr.adam(0.1),
        loss=loss,
        metrics=[epochs_seen],
        callbacks=[cxr.ModelCheckpoint(tmp_path, True, monitor="val_epochs_seen", mode="max")],
    )
    assert run.history.best_epoch() in ({1, 2, 3} if worst == 0 else {None})
    images = next(iter(data.batches(8)))["image"]
    probabilities, _ = cxr.Predictor.from_run(tmp_path)(images)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-seen[3])), atol=1e-5)
