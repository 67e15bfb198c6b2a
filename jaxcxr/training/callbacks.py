"""What may happen around the epochs of `fit`, under Keras' names.

A callback decides nothing from memory of its own: all it needs is in the `Progress` that it
receives, so a resumed training behaves as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils
from tqdm import tqdm

from jaxcxr.distributed import leads
from jaxcxr.errors import UserError
from jaxcxr.files import require_no_brackets, written_aside
from jaxcxr.training import checkpoints
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.lock import Lock, acquire
from jaxcxr.training.signals import SignalWatch
from jaxcxr.training.state import TrainState
from jaxcxr.training.workdir import claim_workdir, different_settings


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a training stands between two steps.

    Attributes:
        state: What the next step starts from.
        history: The epochs done.
        epochs: The number of epochs that the training may last.
        settings: The arguments of `fit` as plain values, as they go into config.json.
        unfinished: The epoch under way; empty between two epochs.
    """

    state: TrainState
    history: History
    epochs: int
    settings: Mapping[str, Any]
    unfinished: UnfinishedEpoch = UnfinishedEpoch()  # noqa: RUF009, frozen


class Callback:
    """Does nothing; the base of all callbacks."""

    def on_train_begin(self, progress: Progress) -> Progress:
        """Returns where the training starts: `progress`, or a place saved earlier."""
        return progress

    def on_resume(self, progress: Progress) -> None:
        """Called before the first step of a training that starts at a place saved earlier."""

    def pauses_after(self, step: int) -> bool:
        """Tells whether to call `on_pause` after a step (from 1) of the epoch."""
        return False

    def on_pause(self, progress: Progress) -> None:
        """Called within an epoch: where a callback asks, and before the training is left there."""

    def interruption(self) -> str | None:
        """Returns why the training is to be left after this step, None where it goes on."""
        return None

    def on_epoch_end(self, progress: Progress) -> None:
        """Called after each epoch."""

    def should_stop(self, history: History) -> bool:
        """Tells, after each epoch, whether the training has gone on long enough."""
        return False

    def on_train_end(self) -> None:
        """Called once, also when the training is broken off by an error."""


@dataclasses.dataclass(frozen=True)
class EarlyStopping(Callback):
    """Stops when the validation loss has not improved for some epochs.

    Attributes:
        patience: Epochs in a row without improvement after which training stops (the paper: 3).
        min_delta: A loss counts as better when it is lower by at least this much (the authors'
            code: 0.001).
    """

    patience: int = 3
    min_delta: float = 0.001

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise UserError(f"patience is {self.patience}; at least 1 epoch is needed")
        if not 0 <= self.min_delta < math.inf:
            raise UserError(f"min_delta is {self.min_delta}; it must be 0 or more, and finite")

    def should_stop(self, history: History) -> bool:
        """Replays the monitored losses; see `Callback.should_stop`."""
        best, waited = math.inf, 0
        for value in history.monitored():
            if math.isfinite(value) and best - value >= self.min_delta:
                best, waited = value, 0
            else:
                waited += 1
        return waited >= self.patience


class ModelCheckpoint(Callback):
    """Saves the training under `workdir` and goes on from there when it is called again.

    Each epoch is saved, and the place within an epoch where the training is interrupted. The best
    epoch (lowest validation loss) and the latest checkpoints are kept. `config.json` beside them
    lets `Predictor.from_run(workdir)` rebuild the network. While it trains no other run may use the
    folder.

    Args:
        workdir: Folder of the run; made where missing.
        every: Save every so many steps within an epoch, too; 0 for its end alone.
        keep: How many of the latest checkpoints to keep.

    Raises:
        UserError: `every` is below 0, or `keep` below 1; there is a bracket in the path.
    """

    def __init__(
        self, workdir: str | Path, every: int = 0, keep: int = checkpoints.KEEP_LATEST
    ) -> None:
        if every < 0:
            raise UserError(f"checkpoint_every is {every}; it must be 0 (epochs alone) or more")
        if keep < 1:
            raise UserError(f"keep_checkpoints is {keep}; it must be 1 or more")
        require_no_brackets(workdir)
        self.workdir = Path(workdir).expanduser()
        self.every = every
        self.keep = keep
        self._checkpoints: checkpoints.Checkpoints | None = None
        self._lock: Lock | None = None
        self._saved: checkpoints.Position | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for the block, which may train in it; errors as in `on_train_begin`."""
        self._acquire()
        try:
            yield
        finally:
            self._release()

    def _acquire(self) -> None:
        if self._lock is None and leads():
            self._lock = acquire(self.workdir)

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def on_train_begin(self, progress: Progress) -> Progress:
        """Takes up the latest whole checkpoint.

        Raises:
            UserError: The folder is in use, or of another run; no checkpoint in it is whole.
        """
        opened = checkpoints.open_checkpoints(self.workdir, self.keep)
        self._acquire()
        if leads():
            claim_workdir(self.workdir, progress.settings)
            checkpoints.remove_remains(opened)
        self._checkpoints = opened
        restored = checkpoints.restore_latest(opened, progress.state)
        if restored is None:
            return progress
        if different := different_settings(restored.settings, progress.settings):
            raise UserError(
                f"{opened.folder} holds checkpoints of another run: {'; '.join(different)}. "
                "Name a new --workdir, or the settings of that run to go on with it"
            )
        self._saved = checkpoints.Position(len(restored.history), restored.unfinished.steps)
        if leads():
            tqdm.write(f"{self.workdir}: {_words(restored, progress.epochs)}")
        return dataclasses.replace(
            progress,
            state=restored.state,
            history=restored.history,
            unfinished=restored.unfinished,
        )

    def pauses_after(self, step: int) -> bool:
        """Pauses where it is to save."""
        return self.every > 0 and step % self.every == 0

    def on_pause(self, progress: Progress) -> None:
        """Saves the place within the epoch; errors as in `on_epoch_end`."""
        self._save(progress)

    def on_epoch_end(self, progress: Progress) -> None:
        """Saves the epoch.

        Raises:
            UserError: This checkpoint or the one before cannot be written; the folder is gone.
        """
        self._save(progress)

    def _save(self, progress: Progress) -> None:
        assert self._checkpoints is not None, "fit calls on_train_begin first"
        position = checkpoints.Position(len(progress.history), progress.unfinished.steps)
        if position == self._saved:
            return
        if self._lock is not None:
            self._lock.check()
        checkpoints.save(
            self._checkpoints,
            progress.state,
            progress.history,
            progress.unfinished,
            progress.settings,
        )
        self._saved = position

    def on_train_end(self) -> None:
        """Waits until everything is on disk; errors as in `on_epoch_end`."""
        try:
            if self._checkpoints is not None:
                self._checkpoints.close()
        finally:
            self._release()
            self._checkpoints = self._saved = None


class StopOnSignals(Callback):
    """Leaves the training after the step under way when SIGTERM or SIGINT (Ctrl-C) comes.

    What was done is saved by `ModelCheckpoint`. A second signal ends the process at once. Several
    processes that train together stop at the same step, after a SIGTERM to any of them; there,
    SIGINT is left alone.
    """

    def __init__(self) -> None:
        self._watch = SignalWatch()
        self._asked = 0
        self._agreed = False

    def on_train_begin(self, progress: Progress) -> Progress:
        """Takes the signals over."""
        if jax.process_count() == 1:
            self._watch.start()
        return progress

    def interruption(self) -> str | None:
        """Returns the name of the signal that came."""
        if jax.process_count() == 1:
            return self._watch.received
        self._asked += 1  # the processes ask equally often, so they agree when to stop
        if multihost_utils.reached_preemption_sync_point(self._asked):
            self._agreed = True
        return "SIGTERM" if self._agreed else None

    def on_train_end(self) -> None:
        """Gives the signals back."""
        self._watch.stop()


@dataclasses.dataclass(frozen=True)
class CSVLogger(Callback):
    """Writes the history as a CSV file after each epoch, whole each time.

    Attributes:
        path: For example `workdir/history.csv`.
    """

    path: str | Path

    def on_resume(self, progress: Progress) -> None:
        """Brings the file in line with the checkpoint, where it is not."""
        text = progress.history.to_frame().to_csv(index=False)
        path = Path(self.path)
        if len(progress.history) == 0:
            return
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            self.on_epoch_end(progress)

    def on_epoch_end(self, progress: Progress) -> None:
        """Writes the file anew."""
        if leads():
            with written_aside(self.path) as aside:
                progress.history.to_frame().to_csv(aside, index=False)


@dataclasses.dataclass(frozen=True)
class TensorBoard(Callback):
    """Writes the history as TensorBoard scalars.

    Attributes:
        log_dir: Folder of the event files.
    """

    log_dir: str | Path

    def on_resume(self, progress: Progress) -> None:
        """Writes the last epoch's numbers again: they may be missing, and twice does no harm."""
        if len(progress.history) and not progress.unfinished.steps:
            self.on_epoch_end(progress)

    def on_epoch_end(self, progress: Progress) -> None:
        """Writes the last epoch's numbers to an event file of their own.

        Raises:
            UserError: It cannot be written; nothing of it is left.
        """
        if not leads():
            return
        from tensorboard.summary import Writer  # imports TensorFlow where it is installed

        record = dict(progress.history.epochs[-1])
        epoch = int(record.pop("epoch"))
        folder = Path(self.log_dir)
        earlier = set(folder.glob("*"))
        try:
            writer = Writer(str(self.log_dir))
            for name, value in record.items():
                writer.add_scalar(name, value, epoch)
            writer.close()
        except Exception as error:  # TensorFlow's file layer has exceptions of its own
            for path in set(folder.glob("*")) - earlier:
                path.unlink()
            raise UserError(
                f"{self.log_dir} cannot be written: {error}; mend that and start the run again, "
                "it goes on after the last checkpoint"
            ) from error


@dataclasses.dataclass(frozen=True)
class LearningRateLogger(Callback):
    """Prints the learning rate after the first epoch and after each in which it was another."""

    def on_epoch_end(self, progress: Progress) -> None:
        """Prints the last epoch's rate where it is news."""
        *before, rate = progress.history["learning_rate"]
        if leads() and before[-1:] != [rate]:
            tqdm.write(f"learning rate of epoch {len(progress.history)}: {rate:.3g}")


@dataclasses.dataclass(frozen=True)
class ProgressLine(Callback):
    """Prints one line per epoch: its losses, rate, time, and whether it is the best so far."""

    def on_epoch_end(self, progress: Progress) -> None:
        """Prints the last epoch's line."""
        record = progress.history.epochs[-1]
        parts = [f"epoch {int(record['epoch']):>2}/{progress.epochs}", f"loss {record['loss']:.4f}"]
        if "val_loss" in record:
            parts.append(f"val_loss {record['val_loss']:.4f}")
        parts += [
            f"{record['images_per_second']:.0f} images/s",
            f"{record['seconds']:.0f} s",
        ]
        if record["skipped_steps"]:
            parts.append(f"{int(record['skipped_steps'])} steps skipped, their loss not finite")
        if progress.history.best_epoch() == len(progress.history):
            parts.append("best so far")
        tqdm.write("  ".join(parts))


def _words(restored: checkpoints.Restored, epochs: int) -> str:
    """Returns where a restored training stands, for the terminal."""
    done, steps = len(restored.history), restored.unfinished.steps
    if steps:
        return f"{done} of {epochs} epochs and {steps} steps of the next are done; going on"
    more = "going on" if done < epochs else "raise epochs for more"
    return f"{done} of {epochs} epochs are done; {more}"
