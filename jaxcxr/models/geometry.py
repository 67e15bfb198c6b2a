"""Where in the network's square input the cells of feature maps and heat maps lie.

A map of h × w cells over an image is commonly enlarged as if its cells tiled the image, the first
one centered half a cell from the edge. Networks place them elsewhere: a convolution of stride 2
with symmetric padding (torchvision's) centers output i on input 2i, so cell i of a ResNet's last
stage is centered on pixel 32i, whatever the image's size. Enlarged as tiles, its maps would lie
15.5 pixels too far down and to the right: 6 % of a 256-pixel image, 16 % of a 96-pixel one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.images.grid import Grid, interpolation_matrix
from jaxcxr.models.ops.portable import is_portable

__all__ = ["Grid", "resample"]


def resample(maps: jax.Array, source: Grid, target: Grid, size: tuple[int, ...]) -> jax.Array:
    """Samples maps linearly where the cells of another grid lie.

    Args:
        maps: (B, h, w, C).
        source: Where their cells lie along both axes.
        target: Where to sample along both axes.
        size: Height and width of the result in cells.

    Returns:
        (B, *size, C); constant beyond the outermost centers of `source`.
    """
    rows, columns = (source.positions(target.centers(cells)) for cells in size)
    height, width = maps.shape[1:3]
    if not is_portable() and _are_cells(rows, height) and _are_cells(columns, width):
        return maps[:, rows.astype(int)][:, :, columns.astype(int)]
    weights = (interpolation_matrix(rows, height), interpolation_matrix(columns, width))
    down, across = (jnp.asarray(matrix, maps.dtype) for matrix in weights)
    return jnp.einsum("bhwc,Hh,Ww->bHWc", maps, down, across, precision="highest")


def _are_cells(positions: np.ndarray, cells: int) -> bool:
    inside = (positions >= 0) & (positions <= cells - 1)
    return bool(((positions == positions.round()) & inside).all())
