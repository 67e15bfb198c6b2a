"""What training makes smaller: the loss of a network on radiographs as they are augmented."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, Mode, normalize
from jaxcxr.models.ops.normalization import in_part
from jaxcxr.training.augmentation import Augmentation, augment
from jaxcxr.training.state import TrainState

DEVICES = "devices"
"""Name of the axis over which a batch is spread."""

Loss = Callable[..., jax.Array]
"""(logits, labels, mask, *, axis_name) → the device's share of the loss; see `losses`."""

Batch = Mapping[str, Any]

ComputeDtype = Literal["float32", "bfloat16"]
COMPUTE_DTYPES: tuple[ComputeDtype, ...] = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss as a function of parameters; to be called under a mapped axis `DEVICES`.

    Attributes:
        model: The network; this and the others as in `jaxcxr.training.steps.make_train_step`.
    """

    model: Classifier
    loss: Loss
    frozen: tuple[str, ...]
    augmentation: Augmentation | None
    seed: int
    compute_dtype: ComputeDtype = "float32"

    def images(self, state: TrainState, batch: Batch) -> jax.Array:
        """Returns the device's images (B, H, W, 3), augmented and normalized."""
        images = batch["image"]
        if self.augmentation is not None:
            images = _augment_rows(images, self.augmentation, self.seed, state.step)
        return normalize(images).astype(self.compute_dtype)  # the layers' dtype follows

    def share_of_loss(
        self, params: Any, state: TrainState, images: jax.Array, batch: Batch
    ) -> tuple[jax.Array, Any]:
        """Returns the device's share of the loss, and the new statistics."""
        prediction, updated = self.model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            Mode(train=True, axis_name=DEVICES, frozen=self.frozen),
            mutable=["batch_stats", "side_logits"],
        )
        supervised = jax.tree.leaves(updated.get("side_logits")) or [prediction.logits]
        shares = [share_of_loss(self.loss, logits, batch) for logits in supervised]
        return jnp.stack(shares).mean(), updated["batch_stats"]

    def with_gradients(self, state: TrainState, batch: Batch) -> tuple[jax.Array, Any, Any]:
        """Returns the loss of the global batch, its gradients, and the new statistics."""
        gradient = jax.value_and_grad(self.share_of_loss, has_aux=True)
        images = self.images(state, batch)
        (share, batch_stats), gradients = gradient(state.params, state, images, batch)
        total, gradients = jax.lax.psum((share, gradients), DEVICES)
        return total, gradients, batch_stats


def share_of_loss(loss: Loss, logits: jax.Array, batch: Batch) -> jax.Array:
    """Returns the device's share of the loss of its logits (B, K).

    Raises:
        UserError: The labels are of another number of findings; it is raised when JAX traces.
    """
    labels = batch["labels"]
    if labels.shape != logits.shape:
        raise UserError(
            f"the network has logits of {logits.shape[-1]} findings, the radiographs have labels "
            f"of {labels.shape[-1]}; set the head's num_classes to the number of the labels"
        )
    return loss(logits.astype(jnp.float32), labels, batch["mask"], axis_name=DEVICES)


def trained_gradients(gradients: Any, frozen: Sequence[str]) -> dict[str, jax.Array]:
    """Returns the gradients that are used, by path; the others need not even be computed."""
    leaves = jax.tree_util.tree_leaves_with_path(gradients)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
        if not in_part([key.key for key in path], frozen)
    }


def _augment_rows(
    images: jax.Array, augmentation: Augmentation, seed: int, step: jax.Array
) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), step)
    first = jax.lax.axis_index(DEVICES) * images.shape[0]
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(first + jnp.arange(images.shape[0]))
    return jax.vmap(lambda key, image: augment(key, image, augmentation))(keys, images)
