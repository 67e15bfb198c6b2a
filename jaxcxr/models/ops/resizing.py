"""Maps brought to another height and width, with PyTorch's sampling positions, or to 0..1."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.images.grid import interpolation_matrix
from jaxcxr.models.ops.portable import is_portable


def resize_nearest(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Resizes (B, h, w, C) to (B, *size, C): position i takes the value at ⌊i · old / new⌋."""
    rows, columns = (
        np.arange(new) * old // new for new, old in zip(size, x.shape[1:3], strict=True)
    )
    if is_portable() and x.shape[1:3] == (1, 1):  # LiteRT refuses their products
        return jnp.broadcast_to(x, (x.shape[0], *size, x.shape[-1]))
    if is_portable():
        chosen = (np.eye(old)[at] for old, at in zip(x.shape[1:3], (rows, columns), strict=True))
        return _multiplied(x, *chosen)
    return x[:, rows][:, :, columns]


def resize_bilinear(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Resizes (B, h, w, C) to (B, *size, C) bilinearly, the corner pixels' centers aligned."""
    matrices = (
        interpolation_matrix(np.linspace(0, old - 1, new), old)
        for old, new in zip(x.shape[1:3], size, strict=True)
    )
    return _multiplied(x, *matrices)


def _multiplied(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    return jnp.einsum("bhwc,Hh,Ww->bHWc", x, rows.astype(x.dtype), columns.astype(x.dtype))


def unit_range(maps: jax.Array) -> jax.Array:
    """Scales (B, h, w, C) to 0..1 per image and channel; a constant map becomes zero."""
    low, high = (bound((1, 2), keepdims=True) for bound in (maps.min, maps.max))
    return (maps - low) / jnp.where(high > low, high - low, jnp.ones_like(low))
