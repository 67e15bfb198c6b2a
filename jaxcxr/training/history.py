"""The numbers of a training: epoch by epoch, and step by step of the epoch under way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd


@dataclasses.dataclass(frozen=True)
class History:
    """One record per finished epoch.

    `history["val_loss"]` is a list to plot, as in Keras. Everything that stops a training or
    chooses its best epoch is computed from here, so that a resumed training decides as an
    uninterrupted one.

    Attributes:
        epochs: For each epoch a mapping with `epoch` (from 1), `loss`, `val_loss` (where there is a
            validation split), `learning_rate`, `skipped_steps` (whose loss or gradients were not
            finite), `seconds` and `images_per_second`.
    """

    epochs: tuple[Mapping[str, float], ...] = ()

    def __getitem__(self, name: str) -> list[float]:
        return [record[name] for record in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def with_epoch(self, record: Mapping[str, float]) -> History:
        """Returns the history with one epoch more."""
        return History((*self.epochs, dict(record)))

    def monitored(self) -> list[float]:
        """Returns what decides per epoch: `val_loss`, or `loss` where nothing was validated.

        A loss that is not a number counts as infinite.
        """
        values = [record.get("val_loss", record["loss"]) for record in self.epochs]
        return [math.inf if math.isnan(value) else value for value in values]

    def best_epoch(self) -> int:
        """Returns the number (from 1) of the epoch with the lowest loss, the first one of equals.

        Raises:
            ValueError: No epoch is finished.
        """
        values = self.monitored()
        return values.index(min(values)) + 1

    def to_frame(self) -> pd.DataFrame:
        """Returns the history as a table, one row per epoch."""
        return pd.DataFrame(list(self.epochs))


@dataclasses.dataclass(frozen=True)
class UnfinishedEpoch:
    """What is known of the epoch under way, enough to end it as if it had not been interrupted.

    Attributes:
        losses: The loss of each step so far; not a number where the step was skipped.
        skipped_before: Steps in a row that had been skipped when the epoch began.
        seconds: Time that its steps took so far.
    """

    losses: tuple[float, ...] = ()
    skipped_before: int = 0
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """Number of steps done, skipped ones included."""
        return len(self.losses)

    @property
    def skipped(self) -> int:
        """Number of steps skipped."""
        return sum(map(math.isnan, self.losses))

    @property
    def skipped_in_a_row(self) -> int:
        """Number of steps skipped since the last one that was not, earlier epochs included."""
        for count, loss in enumerate(reversed(self.losses)):
            if not math.isnan(loss):
                return count
        return self.skipped_before + self.steps

    @property
    def mean_loss(self) -> float:
        """Mean loss of the steps that were not skipped; not a number where all were."""
        losses = [loss for loss in self.losses if not math.isnan(loss)]
        return float(np.mean(losses)) if losses else math.nan
