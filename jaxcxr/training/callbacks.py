"""What may happen around the epochs of `fit`, under Keras' names.

A callback decides nothing from memory of its own: all it needs is in the `Progress` that it
receives, so a resumed training behaves as an uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.state import TrainState


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
        if is_primary_process():
            with atomic_write(self.path) as aside:
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
        if not is_primary_process():
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
        if is_primary_process() and before[-1:] != [rate]:
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
