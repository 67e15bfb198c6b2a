"""Batch normalization as PyTorch does it, and the mode in which a network is called.

PyTorch's rules (`torch.nn.BatchNorm2d`): epsilon 1e-5, running statistics move by 0.1 towards the
batch's, and the running variance is the unbiased one. In training the statistics are those of the
whole batch, over every device that it is spread over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn

_EPSILON = 1e-5
_MOMENTUM = 0.1


@dataclass(frozen=True)
class Mode:
    """How a network is called.

    Attributes:
        train: Normalize by the batch's statistics and move the running ones (needs
            ``mutable=["batch_stats"]``), instead of normalizing by the running ones.
        axis_name: The mapped axis over whose devices the batch is spread; None on one device.
        frozen: Parts of the network, such as ``"backbone"`` or ``"backbone/stage1"``, which use
            and keep their running statistics even in training.
    """

    train: bool = False
    axis_name: str | None = None
    frozen: tuple[str, ...] = ()


INFERENCE = Mode()


def in_part(path: Iterable[str], parts: Iterable[str]) -> bool:
    """Tells whether a parameter or module belongs to one of the named parts of a network.

    Args:
        path: Names from the network's root, ``("backbone", "stage1_0", "conv1")``.
        parts: Such as ``"backbone"``, ``"backbone/stage1"`` (all its blocks) or
            ``"backbone/stage1_0"``.
    """
    name = "/".join(path) + "/"
    return any(name.startswith((f"{part}/", f"{part}_")) for part in parts)


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last, by PyTorch's rules.

    Statistics and parameters are float32; the result has the input's dtype.
    """

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode = INFERENCE) -> jax.Array:
        """Normalizes `x` (..., C) per channel."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)

        if mode.train and not in_part(self.path, mode.frozen):
            mean, var, count = _batch_statistics(x.astype(jnp.float32), mode.axis_name)
            if not self.is_initializing():
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = _moved(running_mean.value, mean)
                running_var.value = _moved(running_var.value, unbiased)
        else:
            mean, var = running_mean.value, running_var.value

        factor = scale * jax.lax.rsqrt(var + _EPSILON)
        return ((x - mean) * factor + bias).astype(x.dtype)


def _moved(running: jax.Array, batch: jax.Array) -> jax.Array:
    return running + _MOMENTUM * (batch - running)


def _batch_statistics(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array, int]:
    """Returns mean (C,), biased variance (C,) and the number of values each is taken over."""
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    if axis_name is None:
        mean = x.mean(axes)
        return mean, jnp.square(x - mean).mean(axes), count
    # Devices hold equal shares of the batch, so the mean of their means is the batch's mean.
    mean = jax.lax.pmean(x.mean(axes), axis_name)
    var = jax.lax.pmean(jnp.square(x - mean).mean(axes), axis_name)
    return mean, var, count * jax.lax.axis_size(axis_name)
