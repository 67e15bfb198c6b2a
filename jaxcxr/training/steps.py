"""The jitted steps, written for one device and mapped over all of them.

`jax.shard_map` under `jax.jit` is the form in which JAX offers `pmap`'s model today: each device
runs the step on its rows of the global batch and names the axis `DEVICES` to add up over all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, Mode, Prediction, normalize
from jaxcxr.training.augmentation import Augmentation, augment
from jaxcxr.training.state import TrainState, Variables

DEVICES = "devices"
"""Name of the axis over which a batch is spread."""

Loss = Callable[..., jax.Array]
"""(logits, labels, mask, *, axis_name) → the device's share of the loss; see `losses`."""

Batch = Mapping[str, Any]


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
    seed: int = 0,
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
    """Returns the jitted step (state, batch) → (next state, loss of the global batch).

    |P| and |N| of the loss, the statistics of batch norm and the gradients are those of the global
    batch: one device and eight give the same numbers. The state's memory is reused (donated).

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
        seed: Of the augmentation.
    """
    mode = Mode(train=True, axis_name=DEVICES, frozen=tuple(frozen))

    def device_step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        images = batch["image"]
        if augmentation is not None:
            images = _augment_rows(images, augmentation, seed, state.step)
        images = normalize(images)

        def share_of_loss(params: Any) -> tuple[jax.Array, Any]:
            prediction, updated = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                mode,
                mutable=["batch_stats", "side_logits"],
            )
            supervised = jax.tree.leaves(updated.get("side_logits")) or [prediction.logits]
            shares = [
                loss(logits, batch["labels"], batch["mask"], axis_name=DEVICES)
                for logits in supervised
            ]
            return jnp.stack(shares).mean(), updated["batch_stats"]

        gradient = jax.value_and_grad(share_of_loss, has_aux=True)
        (share, batch_stats), gradients = gradient(state.params)
        total, gradients = jax.lax.psum((share, gradients), DEVICES)
        updates, opt_state = transformation.update(gradients, state.opt_state, state.params)
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        if state.average is not None:
            average = optax.incremental_update(state.variables, state.average, 1 - ema_decay)
            state = state.replace(average=average)
        return state, total

    everywhere, by_rows = PartitionSpec(), PartitionSpec(DEVICES)
    mapped = jax.shard_map(
        device_step,
        mesh=mesh,
        in_specs=(everywhere, by_rows),
        out_specs=(everywhere, everywhere),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0)


def _augment_rows(
    images: jax.Array, augmentation: Augmentation, seed: int, step: jax.Array
) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), step)
    first = jax.lax.axis_index(DEVICES) * images.shape[0]
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(first + jnp.arange(images.shape[0]))
    return jax.vmap(lambda key, image: augment(key, image, augmentation))(keys, images)


def make_loss_step(
    model: Classifier, mesh: Mesh, *, loss: Loss
) -> Callable[[Variables, Batch], tuple[jax.Array, jax.Array]]:
    """Returns the jitted step (variables, batch) → (loss, number of images), for validation.

    Batch norm uses its running statistics; rows whose mask is False do not count.
    """

    def device_step(variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array]:
        prediction = cast(Prediction, model.apply(variables, normalize(batch["image"])))
        share = loss(prediction.logits, batch["labels"], batch["mask"], axis_name=DEVICES)
        return jax.lax.psum((share, batch["mask"].sum(dtype=jnp.int32)), DEVICES)

    everywhere, by_rows = PartitionSpec(), PartitionSpec(DEVICES)
    mapped = jax.shard_map(
        device_step,
        mesh=mesh,
        in_specs=(everywhere, by_rows),
        out_specs=(everywhere, everywhere),
        check_vma=False,
    )
    return jax.jit(mapped)
