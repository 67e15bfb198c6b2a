"""Callbacks of `fit`, with the hooks of Keras.

A callback decides nothing from memory of its own: all it needs is in the history and in
`self.progress`, so a resumed training behaves as an uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.files import write_text
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.history import History, Mode, UnfinishedEpoch, check_mode
from jaxcxr.training.state import TrainState

Logs = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Progress:
    """The state of a training between two steps.

    Attributes:
        state: What the next step starts from; `state.evaluated` are the variables to predict with.
        history: The finished epochs.
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
    """Does nothing; the base of all callbacks.

    The hooks named ``on_…`` are Keras'; those below them let a callback save, resume and stop.

    Attributes:
        progress: The state of the training, which `fit` sets before it calls a hook, as Keras sets
            `self.model`.
    """

    progress: Progress

    def on_train_begin(self) -> None:
        """Called once before the first step, after a saved training was restored."""

    def on_train_end(self) -> None:
        """Called once after the last step, also when an error ends the training."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Called before an epoch's first step.

        Args:
            epoch: Its number, from 1, as in the history.
        """

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Called after each epoch and its validation.

        Args:
            epoch: Its number, from 1.
            logs: Its record of the history: ``loss``, ``val_loss`` …
        """

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Called once per step, in order, when its loss is known: a few steps later.

        `self.progress` is still that of the epoch's begin.

        Args:
            batch: Number of the step within the epoch, from 1.
            logs: ``loss``, NaN where the step was skipped.
        """

    def restore(self, progress: Progress) -> Progress:
        """Returns where the training starts: `progress`, or what was saved earlier."""
        return progress

    def pauses_after(self, step: int) -> bool:
        """Returns whether to call `on_pause` after a step (from 1) of the epoch."""
        return False

    def on_pause(self) -> None:
        """Called within an epoch: where a callback asks for it, and before an interruption."""

    def interruption(self) -> str | None:
        """Returns why the training has to stop after this step; None to continue."""
        return None

    def should_stop(self, history: History) -> bool:
        """Returns, after each epoch, whether the training is finished."""
        return False

    def keeps_weights(self, history: History) -> bool:
        """Returns, after each epoch, whether `Run.variables` are to be those of this epoch."""
        return False

    def set_progress(self, progress: Progress) -> None:
        """Sets `self.progress`."""
        object.__setattr__(self, "progress", progress)  # also of a frozen dataclass


@dataclasses.dataclass(frozen=True)
class EarlyStopping(Callback):
    """Stops when a monitored value has not improved for some epochs.

    Attributes:
        monitor: Name of the value in the history: "val_loss" (without validation data: the
            training loss), "val_auc", "loss" …
        min_delta: A value counts as better when it is better by at least this much (the authors'
            code: 0.001). An equal value is never better.
        patience: Epochs in a row without improvement after which training stops (the paper: 3).
        restore_best_weights: Whether `Run.variables` are those of the best epoch, in place of the
            last one.
        mode: "min" where lower is better, "max" where greater is; "auto": "max" for an AUC.
    """

    monitor: str = "val_loss"
    min_delta: float = 0.001
    patience: int = 3
    restore_best_weights: bool = False
    mode: Mode = "auto"

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.patience < 1:
            raise UserError(f"patience is {self.patience}; at least 1 epoch is needed")
        if not 0 <= self.min_delta < math.inf:
            raise UserError(f"min_delta is {self.min_delta}; it must be 0 or more, and finite")

    def should_stop(self, history: History) -> bool:
        """Replays the monitored values; see `Callback.should_stop`."""
        best, waited = -math.inf, 0
        for score in history.scores(self.monitor, self.mode):
            if score > best and score - best >= self.min_delta:
                best, waited = score, 0
            else:
                waited += 1
        return waited >= self.patience

    def keeps_weights(self, history: History) -> bool:
        """Returns whether the last epoch is the best; see `Callback.keeps_weights`."""
        best = history.best_epoch(self.monitor, self.mode)
        return self.restore_best_weights and best == len(history)


@dataclasses.dataclass(frozen=True)
class CSVLogger(Callback):
    """Writes the history as a CSV file after each epoch, completely each time.

    Attributes:
        path: For example `workdir/history.csv`.
    """

    path: str | Path

    def on_train_begin(self) -> None:
        """Brings the file in line with the checkpoint of a resumed training."""
        if len(self.progress.history):
            self._write()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Writes the file."""
        self._write()

    def _write(self) -> None:
        if is_primary_process():
            write_text(self.path, self.progress.history.to_frame().to_csv(index=False))


@dataclasses.dataclass(frozen=True)
class TensorBoard(Callback):
    """Writes the history as TensorBoard scalars.

    Attributes:
        log_dir: Folder of the event files.
    """

    log_dir: str | Path

    def on_train_begin(self) -> None:
        """Writes the last epoch of a resumed training again: it may be missing."""
        history = self.progress.history
        if len(history) and not self.progress.unfinished.steps:
            self.on_epoch_end(len(history), history.epochs[-1])

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Writes the epoch's numbers to an event file of their own.

        Raises:
            UserError: It cannot be written; no part of it is left.
        """
        if not is_primary_process():
            return
        from tensorboard.summary import Writer  # imports TensorFlow where it is installed

        folder = Path(self.log_dir)
        earlier = set(folder.glob("*"))
        try:
            writer = Writer(str(self.log_dir))
            for name, value in logs.items():
                if name != "epoch":
                    writer.add_scalar(name, value, epoch)
            writer.close()
        except Exception as error:  # TensorFlow's file layer has exceptions of its own
            for path in set(folder.glob("*")) - earlier:
                path.unlink()
            raise UserError(
                f"{self.log_dir} cannot be written: {error}; fix that and start the run again, "
                "which resumes after the last checkpoint"
            ) from error


@dataclasses.dataclass(frozen=True)
class ProgressLine(Callback):
    """Prints a line per epoch: losses, metrics, speed, a new learning rate, the best so far."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Prints the epoch's line."""
        parts = [f"epoch {epoch:>2}/{self.progress.epochs}", f"loss {logs['loss']:.4f}"]
        parts += [f"{name} {logs[name]:.4f}" for name in logs if name.startswith("val_")]
        parts += [f"{logs['images_per_second']:.0f} images/s", f"{logs['seconds']:.0f} s"]
        if (rate := logs.get("learning_rate")) is not None and (
            epoch == 1 or rate != self.progress.history["learning_rate"][-2]
        ):
            parts.append(f"learning rate {rate:.3g}")
        if logs["skipped_steps"]:
            parts.append(f"{int(logs['skipped_steps'])} steps skipped, their loss not finite")
        if self.progress.history.best_epoch() == epoch:
            parts.append("best so far")
        tqdm.write("  ".join(parts))
