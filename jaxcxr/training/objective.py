"""What training minimizes: the loss of a network on a batch of augmented radiographs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, Mode
from jaxcxr.models.ops.normalization import in_part
from jaxcxr.training.augmentation import Augmentation, augment
from jaxcxr.training.devices import DEVICES, Batch
from jaxcxr.training.losses import weighted_cross_entropy
from jaxcxr.training.state import TrainState

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(logits (B, K) float32, labels (B, K), mask (B,) bool) → scalar, of the global batch.

Labels are uint8; of data with unknown labels float32, where NaN is unknown.
"""

_DROPOUT = 2**31
"""Sets the keys of dropout apart from those of the augmentation, which are made of steps."""

ComputeDtype = Literal["float32", "bfloat16"]
COMPUTE_DTYPES: tuple[ComputeDtype, ...] = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss as a function of parameters; to be called under the mapped axis `DEVICES`.

    A network that sows logits in the collection `side_logits` (deep supervision, an ensemble)
    learns from the mean of their losses, any other from the loss of its prediction.

    Attributes:
        model: The network.
        loss: A function of the logits, labels and mask of the global batch.
        frozen: Parts of the network ("backbone", "backbone/stage1") whose batch norms keep their
            statistics.
        augmentation: Random changes of the images, drawn from `seed`, step and row of the global
            batch, so the same on any number of devices; None for none.
        seed: Of the augmentation and of dropout.
        compute_dtype: Of the network's layers; everything else is float32.
    """

    model: Classifier
    loss: Loss = weighted_cross_entropy
    frozen: tuple[str, ...] = ()
    augmentation: Augmentation | None = None
    seed: int = 0
    compute_dtype: ComputeDtype = "float32"

    def images(self, state: TrainState, batch: Batch) -> jax.Array:
        """Returns the device's images (B, H, W, channels), augmented and normalized."""
        images = batch["image"]
        if self.augmentation is not None:
            images = _augment_rows(images, self.augmentation, self.seed, state.step)
        return self.model.normalize(images).astype(self.compute_dtype)  # the layers' dtype follows

    def share_of_loss(
        self, params: Any, state: TrainState, images: jax.Array, batch: Batch
    ) -> tuple[jax.Array, Any]:
        """Returns the loss of the global batch divided by the devices, and the new statistics.

        Every device computes the same loss from the logits of all devices. Its gradient reaches the
        logits of each device once per device, hence the division: the shares' gradients add up to
        the gradient of the loss.
        """
        prediction, updated = self.model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            Mode(train=True, axis_name=DEVICES, frozen=self.frozen),
            mutable=["batch_stats", "side_logits"],
            rngs={"dropout": self._dropout_key(state.step)},
        )
        labels, mask = gather((batch["labels"], batch["mask"]))
        losses = [
            checked_loss(self.loss(gather(checked_logits(logits, batch["labels"])), labels, mask))
            for logits in jax.tree.leaves(updated.get("side_logits")) or [prediction.logits]
        ]
        return jnp.stack(losses).mean() / jax.lax.axis_size(DEVICES), updated.get("batch_stats", {})

    def _dropout_key(self, step: jax.Array) -> jax.Array:
        """Returns a key for each step and device, other than those of the augmentation."""
        key = jax.random.fold_in(jax.random.key(self.seed), _DROPOUT)
        return jax.random.fold_in(jax.random.fold_in(key, step), jax.lax.axis_index(DEVICES))

    def with_gradients(self, state: TrainState, batch: Batch) -> tuple[jax.Array, Any, Any]:
        """Returns the loss of the global batch, its gradients, and the new statistics."""
        gradient = jax.value_and_grad(self.share_of_loss, has_aux=True)
        images = self.images(state, batch)
        (share, batch_stats), gradients = gradient(state.params, state, images, batch)
        total, gradients = jax.lax.psum((share, gradients), DEVICES)
        return total, gradients, batch_stats


def gather(arrays: Any) -> Any:
    """Returns the rows of all devices, in the order of the global batch, on every device."""
    return jax.lax.all_gather(arrays, DEVICES, tiled=True)


def checked_logits(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns logits (B, K) in float32.

    Raises:
        UserError: The labels have another shape; it is raised when JAX traces.
    """
    if labels.shape != logits.shape:
        raise UserError(
            f"the network has logits of {logits.shape[-1]} findings, the radiographs have labels "
            f"of {labels.shape[-1]}; set the head's num_classes to the number of the labels"
        )
    return logits.astype(jnp.float32)


def checked_loss(loss: jax.Array) -> jax.Array:
    """Returns a loss.

    Raises:
        UserError: It is not a scalar; it is raised when JAX traces.
    """
    if jnp.shape(loss) != ():
        raise UserError(
            f"the loss returns an array of shape {jnp.shape(loss)}; expected one number for the "
            "batch, such as the mean over the rows where the mask is True",
            argument="loss",
        )
    return loss


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
