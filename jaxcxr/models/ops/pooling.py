"""Maxima over windows and over whole maps, and their gradients.

Here a gradient goes to the first of the largest values, as PyTorch sends it, and is decided by
comparing them with each other. JAX's own maxima ask which values equal the result; where XLA
computes a value a second time for the backward pass and rounds it differently, none does and the
gradient is lost.
"""

from __future__ import annotations

import math
from functools import reduce
from itertools import product

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.models.ops.portable import is_portable


def max_pool(x: jax.Array, size: int = 3) -> jax.Array:
    """Pools windows at stride 2: (B, H, W, C) → (B, ⌈H/2⌉, ⌈W/2⌉, C).

    The largest of strided slices, whose gradient is many times faster on CPUs than that of
    `jax.lax.reduce_window`.

    Args:
        x: The maps.
        size: Height and width of a window. Window i is centered on position 2i where it is 3, and
            covers the positions 2i and 2i + 1 where it is 2.
    """
    height, width = (-(-side // 2) for side in x.shape[1:3])
    # -inf on every border that a window may reach, so that padding never wins.
    around = (size // 3, 1)
    padded = jnp.pad(x, ((0, 0), around, around, (0, 0)), constant_values=-jnp.inf)
    if is_portable():
        return nn.max_pool(padded, window_shape=(size, size), strides=(2, 2))
    window = (
        padded[:, dy : dy + 2 * height : 2, dx : dx + 2 * width : 2]
        for dy, dx in product(range(size), repeat=2)
    )
    largest = reduce(lambda first, next_: jnp.where(next_ > first, next_, first), window)
    return _with_gradient_computed_once(largest)


@jax.custom_vjp
def _with_gradient_computed_once(x: jax.Array) -> jax.Array:
    """Returns `x`; on CPUs its gradient is copied before it is used.

    Else XLA would compute the gradient, in a DenseNet the sum of all that its layers send, again
    for each of a window's slices. Nothing is fused across a loop.
    """
    return x


def _copied(gradient: jax.Array) -> jax.Array:
    # Without the barrier JAX would see that the loop changes nothing, and leave it out.
    return jax.lax.map(jax.lax.optimization_barrier, gradient)


_with_gradient_computed_once.defvjp(
    lambda x: (x, None),
    lambda _, gradient: (
        jax.lax.platform_dependent(gradient, cpu=_copied, default=lambda gradient: gradient),
    ),
)


def global_max(x: jax.Array) -> jax.Array:
    """Returns the largest value of every map: (B, h, w, C) → (B, C)."""
    if is_portable():
        return x.max((1, 2))
    values = x.reshape(x.shape[0], -1, x.shape[-1])
    positions = jnp.arange(values.shape[1])[:, None]
    return jnp.where(positions == values.argmax(1)[:, None], values, 0).sum(1)


def log_sum_exp(x: jax.Array, r: jax.Array | float, positions: int) -> jax.Array:
    """Pools (B, h, w, C) to (B, C): ln(Σ exp(r·x) / positions) / r, finite for any finite x.

    Wang et al. 2017, equation (3), with S = `positions`.

    Args:
        x: The maps.
        r: Above 0, one number or (C,); towards 0 it is the average, towards ∞ the maximum.
        positions: Number that the sum is divided by.
    """
    return (jax.nn.logsumexp(r * x, axis=(1, 2)) - math.log(positions)) / r
