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

import orbax.checkpoint as ocp
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.files import written_aside
from jaxcxr.training import checkpoints
from jaxcxr.training.history import History
from jaxcxr.training.state import TrainState
from jaxcxr.training.workdir import claim_workdir


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a training stands between two epochs.

    Attributes:
        state: What the next step starts from.
        history: The epochs done.
        epochs: The number of epochs that the training may last.
        settings: The arguments of `fit` as plain values, as they go into config.json.
    """

    state: TrainState
    history: History
    epochs: int
    settings: Mapping[str, Any]


class Callback:
    """Does nothing; the base of all callbacks."""

    def on_train_begin(self, progress: Progress) -> Progress:
        """Returns where the training starts: `progress`, or a place saved earlier."""
        return progress

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
    """Saves each epoch under `workdir` and goes on from the latest one when it is called again.

    The best epoch (lowest validation loss) and the two latest are kept. `config.json` beside them
    lets `Predictor.from_run(workdir)` rebuild the network.

    Args:
        workdir: Folder of the run; made where missing.
    """

    def __init__(self, workdir: str | Path) -> None:
        self.workdir = Path(workdir).expanduser()
        self._manager: ocp.CheckpointManager | None = None

    def on_train_begin(self, progress: Progress) -> Progress:
        """Takes up the latest checkpoint; raises UserError in the folder of another run."""
        claim_workdir(self.workdir, progress.settings)
        self._manager = checkpoints.open_checkpoints(self.workdir)
        restored = checkpoints.restore_latest(self._manager, progress.state)
        if restored is None:
            return progress
        state, history = restored
        done = f"{self.workdir}: {len(history)} of {progress.epochs} epochs are done"
        more = len(history) < progress.epochs
        tqdm.write(f"{done}; going on" if more else f"{done}; raise epochs for more")
        return dataclasses.replace(progress, state=state, history=history)

    def on_epoch_end(self, progress: Progress) -> None:
        """Saves the epoch."""
        assert self._manager is not None, "fit calls on_train_begin first"
        checkpoints.save(self._manager, progress.state, progress.history)

    def on_train_end(self) -> None:
        """Waits until everything is on disk."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None


@dataclasses.dataclass(frozen=True)
class CSVLogger(Callback):
    """Writes the history as a CSV file after each epoch, whole each time.

    Attributes:
        path: For example `workdir/history.csv`.
    """

    path: str | Path

    def on_epoch_end(self, progress: Progress) -> None:
        """Writes the file anew."""
        with written_aside(self.path) as aside:
            progress.history.to_frame().to_csv(aside, index=False)


@dataclasses.dataclass(frozen=True)
class TensorBoard(Callback):
    """Writes the history as TensorBoard scalars.

    Attributes:
        log_dir: Folder of the event files.
    """

    log_dir: str | Path

    def on_epoch_end(self, progress: Progress) -> None:
        """Adds the last epoch's numbers to an event file."""
        from tensorboard.summary import Writer  # imports TensorFlow where it is installed

        record = dict(progress.history.epochs[-1])
        epoch = int(record.pop("epoch"))
        writer = Writer(str(self.log_dir))
        for name, value in record.items():
            writer.add_scalar(name, value, epoch)
        writer.close()


@dataclasses.dataclass(frozen=True)
class LearningRateLogger(Callback):
    """Prints the learning rate after the first epoch and after each in which it was another."""

    def on_epoch_end(self, progress: Progress) -> None:
        """Prints the last epoch's rate where it is news."""
        *before, rate = progress.history["learning_rate"]
        if before[-1:] != [rate]:
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
        if progress.history.best_epoch() == len(progress.history):
            parts.append("best so far")
        tqdm.write("  ".join(parts))
