"""Counting of steps whose loss or gradients are not finite.

Such a step leaves the state unchanged; see `jaxcxr.training.steps.TrainStep`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import jax
import numpy as np

from jaxcxr.errors import UserError
from jaxcxr.training.devices import Batch
from jaxcxr.training.history import UnfinishedEpoch

_RUN_AHEAD = 2
"""Steps that the host may be ahead of the devices: enough not to keep them waiting."""

_NAMES_SHOWN = 8


class StepLosses:
    """The losses of an epoch's steps, read late enough that the host need not wait for each.

    Args:
        unfinished: The steps done before.
        epoch: Number of the epoch, from 1.
        patience: Steps in a row that may be skipped.
        on_read: Called with the number of each step (from 1) and its loss, in order.
    """

    def __init__(
        self,
        unfinished: UnfinishedEpoch,
        epoch: int,
        patience: int,
        on_read: Callable[[int, float], None],
    ) -> None:
        self.losses = list(unfinished.losses)
        self._in_a_row = unfinished.skipped_in_a_row
        self._epoch = epoch
        self._patience = patience
        self._on_read = on_read
        self._unread: deque[tuple[jax.Array, Batch]] = deque()

    def add(self, loss: jax.Array, batch: Batch) -> None:
        """Adds the loss of a step and its batch.

        Raises:
            UserError: Too many steps in a row were skipped.
        """
        self._unread.append((loss, batch))
        self.read(_RUN_AHEAD)

    def read(self, but: int = 0) -> None:
        """Reads all losses but the last `but`, and waits for them.

        Raises:
            UserError: Too many steps in a row were skipped.
        """
        while len(self._unread) > but:
            loss, batch = self._unread.popleft()
            self._read(float(loss), batch)

    def _read(self, loss: float, batch: Batch) -> None:
        self.losses.append(loss)
        self._on_read(len(self.losses), loss)
        self._in_a_row = self._in_a_row + 1 if math.isnan(loss) else 0
        if self._in_a_row >= self._patience:
            step = f"step {len(self.losses)} of epoch {self._epoch}{_names(batch)}"
            raise UserError(
                f"{step}: the loss or its gradients are not finite, in {self._in_a_row} steps "
                "in a row; all were skipped, so the last checkpoint is good. Start from it with a "
                "lower learning rate or clip_norm in a new folder",
                argument="learning_rate",
            )


def _names(batch: Batch) -> str:
    names = list(map(str, np.asarray(batch.get("image_name", ()))))
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f" ({', '.join(names[:_NAMES_SHOWN])}{more})" if names else ""
