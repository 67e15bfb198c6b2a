"""Losses and gradients that are not finite: how many, and where they begin.

Such a step leaves the state unchanged; see `jaxcxr.training.steps.make_train_step`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from jaxcxr.errors import UserError
from jaxcxr.training.devices import (
    BY_ROWS,
    DEVICES,
    EVERYWHERE,
    Batch,
    made_once,
    map_over_devices,
)
from jaxcxr.training.history import UnfinishedEpoch
from jaxcxr.training.objective import Objective, trained_gradients
from jaxcxr.training.state import TrainState

_RUN_AHEAD = 2
"""Dispatches that the host may be ahead of the devices: enough not to keep them waiting."""

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
        on_read: Callable[[int, float], None] = lambda step, loss: None,
    ) -> None:
        self.losses = list(unfinished.losses)
        self._in_a_row = unfinished.skipped_in_a_row
        self._epoch = epoch
        self._patience = patience
        self._on_read = on_read
        self._unread: deque[tuple[jax.Array, Sequence[Batch]]] = deque()

    @property
    def steps(self) -> int:
        """Number of steps so far."""
        return len(self.losses) + sum(len(batches) for _, batches in self._unread)

    def add(self, losses: jax.Array, batches: Sequence[Batch]) -> None:
        """Adds the losses of a dispatch's steps, one per batch.

        Raises:
            UserError: Too many steps in a row were skipped.
        """
        self._unread.append((losses, batches))
        self.read(_RUN_AHEAD)

    def read(self, but: int = 0) -> None:
        """Reads all losses but those of the last `but` dispatches, and waits for them.

        Raises:
            UserError: Too many steps in a row were skipped.
        """
        while len(self._unread) > but:
            losses, batches = self._unread.popleft()
            for loss, batch in zip(np.atleast_1d(losses), batches, strict=True):
                self._read(float(loss), batch)

    def _read(self, loss: float, batch: Batch) -> None:
        self.losses.append(loss)
        self._on_read(len(self.losses), loss)
        self._in_a_row = self._in_a_row + 1 if math.isnan(loss) else 0
        if self._in_a_row >= self._patience:
            where = describe_step(self._epoch, len(self.losses), batch)
            raise UserError(
                f"{where}: the loss or its gradients are not finite, in {self._in_a_row} steps "
                "in a row; all were skipped, so the last checkpoint is good. Start from it with a "
                "lower learning rate or clip_norm in a new folder; debug_nonfinite=True names the "
                "layer",
                argument="learning_rate",
            )


def describe_step(epoch: int, step: int, batch: Mapping[str, Any]) -> str:
    """Returns the number of a step, with the names of its images where they are known."""
    text = f"step {step} of epoch {epoch}"
    names = list(map(str, np.asarray(batch.get("image_name", ()))))
    if not names:
        return text
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{text} ({', '.join(names[:_NAMES_SHOWN])}{more})"


def first_not_finite(finite: Mapping[tuple[int, str], Any]) -> str:
    """Returns the first value that is not finite, from the result of `make_finiteness_check`."""
    for (_, name), is_finite in sorted(finite.items()):
        if not is_finite:
            return name
    return "the square of a gradient"


@made_once
def make_finiteness_check(
    objective: Objective, mesh: Mesh
) -> Callable[[TrainState, Batch], dict[tuple[int, str], jax.Array]]:
    """Returns a jitted function that finds where the numbers of a step stop being finite.

    Args:
        objective: The network and its loss.
        mesh: The devices.

    Returns:
        (state, batch) → for each layer in the order of computation, then for the loss, the
        statistics and each gradient, whether it is finite on every device:
        {(place in this order, name): bool scalar}.
    """

    def device_check(state: TrainState, batch: Batch) -> dict[tuple[int, str], jax.Array]:
        values: list[tuple[str, Any]] = []

        def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            output = call(*args, **kwargs)
            if context.method_name == "__call__":
                path = "/".join(context.module.path) or "the classifier"
                values.append((f"the output of {path} ({type(context.module).__name__})", output))
            return output

        with nn.intercept_methods(note):
            objective.share_of_loss(state.params, state, objective.images(state, batch), batch)
        total, gradients, batch_stats = objective.with_gradients(state, batch)
        values += [("the loss", total), ("the batch norm statistics", batch_stats)]
        values += [
            (f"the gradient of {path}", gradient)
            for path, gradient in trained_gradients(gradients, objective.frozen).items()
        ]
        finite = {(place, name): _finite(value) for place, (name, value) in enumerate(values)}
        return jax.lax.pmin(finite, DEVICES)

    return map_over_devices(device_check, mesh, (EVERYWHERE, BY_ROWS))


def _finite(value: Any) -> jax.Array:
    """Returns whether all numbers of a tree are finite, as 1 or 0."""
    return (
        jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(value)]).min().astype(int)
    )
