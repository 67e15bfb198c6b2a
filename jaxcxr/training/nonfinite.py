"""Losses and gradients that are not finite: counted, and looked into.

The step itself leaves the state as it was; see `jaxcxr.training.steps.make_train_step`.
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
from jax.sharding import Mesh, PartitionSpec

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier
from jaxcxr.models.ops.compilation import compiler_options
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.history import UnfinishedEpoch
from jaxcxr.training.objective import (
    DEVICES,
    Batch,
    ComputeDtype,
    Loss,
    Objective,
    trained_gradients,
)
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
    """

    def __init__(self, unfinished: UnfinishedEpoch, epoch: int, patience: int) -> None:
        self.losses = list(unfinished.losses)
        self._in_a_row = unfinished.skipped_in_a_row
        self._epoch = epoch
        self._patience = patience
        self._unread: deque[tuple[jax.Array, Sequence[Batch]]] = deque()

    @property
    def steps(self) -> int:
        """Number of steps so far."""
        return len(self.losses) + sum(len(batches) for _, batches in self._unread)

    def add(self, losses: jax.Array, batches: Sequence[Batch]) -> None:
        """Takes up the losses of a dispatch's steps, one per batch; errors as in `read`."""
        self._unread.append((losses, batches))
        self.read(_RUN_AHEAD)

    def read(self, but: int = 0) -> None:
        """Reads all losses but those of the last dispatches, waiting where they are not done.

        Raises:
            UserError: Too many steps in a row were skipped.
        """
        while len(self._unread) > but:
            losses, batches = self._unread.popleft()
            for loss, batch in zip(np.atleast_1d(losses), batches, strict=True):
                self._read(float(loss), batch)

    def _read(self, loss: float, batch: Batch) -> None:
        self.losses.append(loss)
        self._in_a_row = self._in_a_row + 1 if math.isnan(loss) else 0
        if self._in_a_row >= self._patience:
            where = describe_step(self._epoch, len(self.losses), batch)
            raise UserError(
                f"{where}: the loss or its gradients are not finite, in {self._in_a_row} steps "
                "in a row by now; all were skipped, so the last checkpoint is good. Go on from "
                "there with a lower learning rate or clip_norm in a new folder; "
                "debug_nonfinite=True names the layer"
            )


def describe_step(epoch: int, step: int, batch: Mapping[str, Any]) -> str:
    """Returns which step it is about, with the names of its images where they have any."""
    text = f"step {step} of epoch {epoch}"
    names = list(map(str, np.asarray(batch.get("image_name", ()))))
    if not names:
        return text
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{text} ({', '.join(names[:_NAMES_SHOWN])}{more})"


def first_not_finite(finite: Mapping[tuple[int, str], Any]) -> str:
    """Returns what is the first not to be finite, of what `make_finiteness_check` found."""
    for (_, name), is_finite in sorted(finite.items()):
        if not is_finite:
            return name
    return "the square of a gradient"


def make_finiteness_check(
    model: Classifier,
    mesh: Mesh,
    *,
    loss: Loss,
    frozen: Sequence[str] = (),
    augmentation: Augmentation | None = None,
    compute_dtype: ComputeDtype = "float32",
    seed: int = 0,
) -> Callable[[TrainState, Batch], dict[tuple[int, str], jax.Array]]:
    """Returns a jitted function that tells where the numbers of a step stop being finite.

    Its arguments are those of `make_train_step`.

    Returns:
        (state, batch) → for each layer in the order of computation, then for the loss, the
        statistics and each gradient, whether it is finite on every device:
        {(place in this order, name): bool scalar}.
    """
    objective = Objective(model, loss, tuple(frozen), augmentation, seed, compute_dtype)

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
            for path, gradient in trained_gradients(gradients, frozen).items()
        ]
        finite = {(place, name): _finite(value) for place, (name, value) in enumerate(values)}
        return jax.lax.pmin(finite, DEVICES)

    everywhere, by_rows = PartitionSpec(), PartitionSpec(DEVICES)
    mapped = jax.shard_map(
        device_check,
        mesh=mesh,
        in_specs=(everywhere, by_rows),
        out_specs=everywhere,
        check_vma=False,
    )
    return jax.jit(mapped, compiler_options=compiler_options(mesh))


def _finite(value: Any) -> jax.Array:
    """Returns whether all numbers of a tree are finite, as 1 or 0."""
    return (
        jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(value)]).min().astype(int)
    )
