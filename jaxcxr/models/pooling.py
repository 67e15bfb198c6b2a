"""Windowed pooling with PyTorch's padding."""

from __future__ import annotations

from functools import reduce
from itertools import product

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array) -> jax.Array:
    """Pools 3×3 windows at stride 2 with padding 1: (B, H, W, C) → (B, ⌈H/2⌉, ⌈W/2⌉, C).

    The maximum of nine strided slices. `jax.lax.reduce_window` gives the same values, but its
    gradient (select-and-scatter) is many times slower on CPUs. Equal maxima share the gradient.
    """
    height, width = (-(-size // 2) for size in x.shape[1:3])
    # -inf on every border that a window may reach, so that padding never wins.
    padded = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), constant_values=-jnp.inf)
    corners = (
        padded[:, dy : dy + 2 * height : 2, dx : dx + 2 * width : 2]
        for dy, dx in product(range(3), repeat=2)
    )
    return reduce(jnp.maximum, corners)
