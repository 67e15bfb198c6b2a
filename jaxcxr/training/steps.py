"""The jitted steps, written for one device and mapped over all of them.

`jax.shard_map` under `jax.jit` is the form in which JAX offers `pmap`'s model today: each device
runs the step on its rows of the global batch and names the axis `DEVICES` to add up over all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, Prediction, normalize
from jaxcxr.models.ops.compilation import compiler_options
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.objective import (
    DEVICES,
    Batch,
    ComputeDtype,
    Loss,
    Objective,
    share_of_loss,
    trained_gradients,
)
from jaxcxr.training.state import TrainState, Variables


def device_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the one-axis mesh over `devices`, or over all there are."""
    return Mesh(np.asarray(devices if devices is not None else jax.devices()), (DEVICES,))


def shard_batch(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's rows of a batch on its devices, rows spread evenly.

    Only what a step reads goes along: `image`, `labels` and `mask`.

    Raises:
        UserError: The rows do not divide by the number of devices.
    """
    rows = len(batch["image"]) * jax.process_count()
    if rows % mesh.size:
        below = rows // mesh.size * mesh.size
        sizes = [size for size in (below, below + mesh.size) if size]
        raise UserError(
            f"a batch of {rows} images does not divide over {mesh.size} devices; "
            f"use a batch size of {' or '.join(map(str, sizes))}"
        )
    rows_over_devices = NamedSharding(mesh, PartitionSpec(DEVICES))
    return {
        name: jax.make_array_from_process_local_data(rows_over_devices, np.asarray(batch[name]))
        for name in ("image", "labels", "mask")
    }


def make_train_step(
    model: Classifier,
    transformation: optax.GradientTransformation,
    mesh: Mesh,
    *,
    loss: Loss,
    frozen: Sequence[str] = (),
    augmentation: Augmentation | None = None,
    ema_decay: float = 0.0,
    compute_dtype: ComputeDtype = "float32",
    seed: int = 0,
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
    """Returns the jitted step (state, batch) → (next state, loss of the global batch).

    |P| and |N| of the loss, the statistics of batch norm and the gradients are those of the global
    batch: one device and eight give the same numbers. The state's memory is reused (donated).

    Where the loss, a gradient or a statistic is not finite, nothing but its loss tells of the step:
    the state is the one before it, and the loss is not a number.

    A network that sows logits in the collection `side_logits` (deep supervision, an ensemble)
    learns from the mean of their losses, any other from the loss of its prediction.

    Args:
        model: The network.
        transformation: Turns gradients into updates.
        mesh: The devices; see `device_mesh`.
        loss: For example `weighted_cross_entropy`.
        frozen: Parts of the network ("backbone", "backbone/stage1") whose batch norms keep their
            statistics.
        augmentation: Random changes of the images, drawn from `seed`, step and row of the global
            batch, so on any number of devices the same.
        ema_decay: Share of the moving average that each step keeps, where the state has one.
        compute_dtype: Of the network's layers; all else is float32.
        seed: Of the augmentation.
    """
    objective = Objective(model, loss, tuple(frozen), augmentation, seed, compute_dtype)
    device_step = _make_device_step(objective, transformation, ema_decay)
    everywhere, by_rows = PartitionSpec(), PartitionSpec(DEVICES)
    mapped = jax.shard_map(
        device_step,
        mesh=mesh,
        in_specs=(everywhere, by_rows),
        out_specs=(everywhere, everywhere),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0, compiler_options=compiler_options(mesh))


def make_resident_steps(
    model: Classifier,
    transformation: optax.GradientTransformation,
    mesh: Mesh,
    *,
    loss: Loss,
    most: int,
    frozen: Sequence[str] = (),
    augmentation: Augmentation | None = None,
    ema_decay: float = 0.0,
    compute_dtype: ComputeDtype = "float32",
    seed: int = 0,
) -> Callable[[TrainState, Batch, jax.Array, int], tuple[TrainState, jax.Array]]:
    """Returns several steps of `make_train_step` as one, whose batches are gathered on the devices.

    How many are done is decided when they are started: wherever the epoch is cut, the same compiled
    step does them, so that a training that was left and one that was not agree to the last bit.

    The arguments are those of `make_train_step`, and `most`, the most steps in one call.

    Returns:
        (state, radiographs, rows, count) → (state after `count` steps, losses (most,)), with the
        `image` (N, S, S, 1) and `labels` (N, K) that every device has whole, and the rows
        (most, B) of each step's global batch, spread over the devices by their second axis. The
        losses after the first `count` are 0.
    """
    objective = Objective(model, loss, tuple(frozen), augmentation, seed, compute_dtype)
    device_step = _make_device_step(objective, transformation, ema_decay)

    def device_steps(
        state: TrainState, radiographs: Batch, rows: jax.Array, count: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        def one(state: TrainState, rows: jax.Array) -> tuple[TrainState, jax.Array]:
            batch = {
                name: radiographs[name].at[rows].get(mode="promise_in_bounds")
                for name in ("image", "labels")
            }
            return device_step(state, {**batch, "mask": jnp.ones(len(rows), bool)})

        def body(step: jax.Array, carry: tuple[TrainState, jax.Array]) -> Any:
            state, total = one(carry[0], rows[step])
            return state, carry[1].at[step].set(total)

        if most == 1:  # without a loop, which CPUs are slow in
            state, total = one(state, rows[0])
            return state, total[None]
        return jax.lax.fori_loop(0, count, body, (state, jnp.zeros(most)))

    everywhere = PartitionSpec()
    mapped = jax.shard_map(
        device_steps,
        mesh=mesh,
        in_specs=(everywhere, everywhere, PartitionSpec(None, DEVICES), everywhere),
        out_specs=(everywhere, everywhere),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0, compiler_options=compiler_options(mesh))


def _make_device_step(
    objective: Objective, transformation: optax.GradientTransformation, ema_decay: float
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
    """Returns what one device does in a step, with its rows of the batch."""

    def device_step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        total, gradients, batch_stats = objective.with_gradients(state, batch)

        def advance(state: TrainState) -> TrainState:
            updates, opt_state = transformation.update(gradients, state.opt_state, state.params)
            state = state.replace(
                step=state.step + 1,
                params=optax.apply_updates(state.params, updates),
                batch_stats=batch_stats,
                opt_state=opt_state,
            )
            if state.average is None:
                return state
            average = optax.incremental_update(state.variables, state.average, 1 - ema_decay)
            return state.replace(average=average)

        # One number tells of all: it is finite where each is, and where the squares of the
        # gradients, which Adam keeps, are.
        numbers = (total, trained_gradients(gradients, objective.frozen), batch_stats)
        squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(numbers)]
        finite = jnp.isfinite(jnp.stack(squares).sum())
        return _advance_if(finite, advance, state), jnp.where(finite, total, jnp.nan)

    return device_step


def _advance_if(
    finite: jax.Array, advance: Callable[[TrainState], TrainState], state: TrainState
) -> TrainState:
    """Returns the advanced state where `finite`, else the state as it is.

    A branch leaves the arithmetic of `advance` alone to the last bit, but on an accelerator the
    host would have to wait at it, in every step; so there both states are computed.
    """

    def branch(state: TrainState) -> TrainState:
        return jax.lax.cond(finite, advance, lambda state: state, state)

    def select(state: TrainState) -> TrainState:
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), advance(state), state)

    return jax.lax.platform_dependent(state, cpu=branch, default=select)


def make_loss_step(
    model: Classifier, mesh: Mesh, *, loss: Loss
) -> Callable[[Variables, Batch], tuple[jax.Array, jax.Array]]:
    """Returns the jitted step (variables, batch) → (loss, number of images), for validation.

    Batch norm uses its running statistics; rows whose mask is False do not count.
    """

    def device_step(variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array]:
        prediction = cast(Prediction, model.apply(variables, normalize(batch["image"])))
        share = share_of_loss(loss, prediction.logits, batch)
        return jax.lax.psum((share, batch["mask"].sum(dtype=jnp.int32)), DEVICES)

    everywhere, by_rows = PartitionSpec(), PartitionSpec(DEVICES)
    mapped = jax.shard_map(
        device_step,
        mesh=mesh,
        in_specs=(everywhere, by_rows),
        out_specs=(everywhere, everywhere),
        check_vma=False,
    )
    return jax.jit(mapped, compiler_options=compiler_options(mesh))
