"""Batch normalization as PyTorch does it, and the mode in which a network is called.

PyTorch's rules (`torch.nn.BatchNorm2d`): epsilon 1e-5, running statistics move by 0.1 towards the
batch's, and the running variance is the unbiased one. In training the statistics are those of the
whole batch, over every device that it is spread over.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Moments(NamedTuple):
    """Mean (C,) and biased variance (C,) of a batch of maps, float32."""

    mean: jax.Array
    variance: jax.Array


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last, by PyTorch's rules.

    Statistics and parameters are float32; the result has the input's dtype.
    """

    @nn.compact
    def __call__(
        self, x: jax.Array, mode: Mode = INFERENCE, moments: Moments | None = None
    ) -> jax.Array:
        """Normalizes `x` (..., C) per channel.

        Args:
            x: The maps.
            mode: Training or inference.
            moments: Those of `x`, where they are known already; computed by default.
        """
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)

        if not mode.train or in_part(self.path, mode.frozen):
            return _normalized(x, Moments(running_mean.value, running_var.value), scale, bias)

        moments = moments or batch_moments(x, mode)
        if not self.is_initializing():
            count = _count(x, mode.axis_name)
            unbiased = moments.variance * (count / max(count - 1, 1))
            running_mean.value = _moved(running_mean.value, moments.mean)
            running_var.value = _moved(running_var.value, unbiased)
        return _normalized_by_batch(x, moments, scale, bias, mode.axis_name)


def batch_moments(x: jax.Array, mode: Mode) -> Moments:
    """Returns the moments of maps (..., C), over all devices; no gradient passes through them."""
    values = jax.lax.stop_gradient(x).astype(jnp.float32)
    mean = _mean(values, mode.axis_name)
    return Moments(mean, _mean(jnp.square(values - mean), mode.axis_name))


def _mean(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Returns the mean (C,) over all axes but the last, and over the devices."""
    mean = x.mean(tuple(range(x.ndim - 1)))
    # Devices hold equal shares of the batch, so the mean of their means is the batch's mean.
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


def _moved(running: jax.Array, batch: jax.Array) -> jax.Array:
    return running + _MOMENTUM * (batch - running)


def _normalized(x: jax.Array, moments: Moments, scale: jax.Array, bias: jax.Array) -> jax.Array:
    factor = scale * jax.lax.rsqrt(moments.variance + _EPSILON)
    return ((x - moments.mean) * factor + bias).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _normalized_by_batch(
    x: jax.Array, moments: Moments, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> jax.Array:
    """Returns the normalized `x`, whose gradient counts that `x` moves its moments, too.

    That gradient (Ioffe & Szegedy 2015, "Batch normalization", section 3) passes over the maps
    three times, where the one that JAX derives from the forward pass does so five times.
    """
    return _normalized(x, moments, scale, bias)


def _forward(x: jax.Array, moments: Moments, scale: jax.Array, bias: jax.Array, _: Any) -> Any:
    kept = x, moments.mean, jax.lax.rsqrt(moments.variance + _EPSILON), scale
    return _normalized(x, moments, scale, bias), kept


def _backward(axis_name: str | None, kept: Any, gradient: jax.Array) -> Any:
    x, mean, inverse, scale = kept
    gradient = gradient.astype(jnp.float32)
    normal = (x - mean) * inverse
    axes, count = tuple(range(x.ndim - 1)), _count(x, axis_name)
    of_scale, of_bias = (gradient * normal).sum(axes), gradient.sum(axes)
    shares = of_scale, of_bias
    if axis_name is not None:  # every value of the batch moved mean and variance
        shares = jax.lax.psum(shares, axis_name)
    centered = gradient - normal * (shares[0] / count) - shares[1] / count
    return (scale * inverse * centered).astype(x.dtype), None, of_scale, of_bias


_normalized_by_batch.defvjp(_forward, _backward)


def _count(x: jax.Array, axis_name: str | None) -> int:
    """Returns the number of values that each statistic is taken over."""
    here = x.size // x.shape[-1]
    return here if axis_name is None else here * jax.lax.axis_size(axis_name)
