"""The numbers of a training: per epoch, and per step of the epoch under way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError

Mode = Literal["auto", "min", "max"]
"""Whether a lower or a greater value is better; "auto": greater for an AUC, else lower."""


def check_mode(mode: str) -> None:
    """Raises a UserError where `mode` is not a `Mode`."""
    if mode not in get_args(Mode):
        raise UserError(
            f"mode is {mode!r}; use one of {', '.join(get_args(Mode))}", argument="mode"
        )


@dataclasses.dataclass(frozen=True)
class History:
    """One record per finished epoch.

    `history["val_loss"]` is a list to plot, as in Keras. Every decision to stop a training and
    every choice of a best epoch is computed from here, so a resumed training decides as an
    uninterrupted one.

    Attributes:
        epochs: For each epoch a mapping with `epoch` (from 1), `loss`, `val_loss` and the other
            metrics (``val_auc``) where there is a validation split, `learning_rate` where it is
            known, `skipped_steps` (whose loss or gradients were not finite), `seconds` and
            `images_per_second`.
    """

    epochs: tuple[Mapping[str, float], ...] = ()

    def __getitem__(self, name: str) -> list[float]:
        return [record[name] for record in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def with_epoch(self, record: Mapping[str, float]) -> History:
        """Returns the history with one more epoch."""
        return History((*self.epochs, dict(record)))

    def scores(self, monitor: str = "val_loss", mode: Mode = "auto") -> list[float]:
        """Returns a number per epoch: the greater, the better the epoch.

        Args:
            monitor: The value that decides; where nothing was validated, `loss` stands for
                `val_loss`.
            mode: See `Mode`.

        Returns:
            The monitored values, negated where lower is better; −∞ where one is not finite.

        Raises:
            KeyError: An epoch does not have the value.
        """
        sign = 1 if mode == "max" or (mode == "auto" and monitor.endswith("auc")) else -1
        values = [
            record["loss" if monitor == "val_loss" and monitor not in record else monitor]
            for record in self.epochs
        ]
        return [sign * value if math.isfinite(value) else -math.inf for value in values]

    def best_epoch(self, monitor: str = "val_loss", mode: Mode = "auto") -> int | None:
        """Returns the number (from 1) of the best epoch, the first of equals.

        None where no epoch has a finite value; a value that is not finite is never best. The
        arguments and errors are those of `scores`.
        """
        scores = self.scores(monitor, mode)
        best = max(scores, default=-math.inf)
        return scores.index(best) + 1 if best > -math.inf else None

    def to_frame(self) -> pd.DataFrame:
        """Returns the history as a table, one row per epoch."""
        return pd.DataFrame(list(self.epochs))


@dataclasses.dataclass(frozen=True)
class UnfinishedEpoch:
    """State of the epoch under way, enough to finish it as if it had not been interrupted.

    Attributes:
        losses: The loss of each step so far; NaN where the step was skipped.
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
        """Mean loss of the steps that were not skipped; NaN where all were."""
        losses = [loss for loss in self.losses if not math.isnan(loss)]
        return float(np.mean(losses)) if losses else math.nan
