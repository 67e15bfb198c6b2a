"""Where the cells of a map lie in an image, and the interpolation between them.

Pixel coordinates here have pixel i centered on i: an image of S pixels spans −½ to S − ½.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Grid(NamedTuple):
    """Where the cells of a map lie along one axis of an image: first_center + stride · i.

    Attributes:
        first_center: Coordinate of the first cell's center in pixels.
        stride: Distance between the centers of neighboring cells in pixels.
    """

    first_center: float
    stride: float

    def strided(self, start: float, step: float) -> Grid:
        """Returns the grid whose cell o is centered on cell start + step · o of this one."""
        return Grid(self.first_center + start * self.stride, step * self.stride)

    def scaled(self, factor: float) -> Grid:
        """Returns the same cells in the pixels of the image resized by `factor`."""
        return Grid((self.first_center + 0.5) * factor - 0.5, self.stride * factor)

    def centers(self, cells: int) -> np.ndarray:
        """Returns the (cells,) coordinates of the centers in pixels."""
        return self.first_center + self.stride * np.arange(cells)

    def positions(self, pixels: np.ndarray) -> np.ndarray:
        """Returns coordinates in pixels as fractional indices of cells, of the same shape."""
        return (pixels - self.first_center) / self.stride


PIXELS = Grid(0.0, 1.0)
"""The grid of the image's own pixels."""


def tiles(pixels: int, cells: int) -> Grid:
    """Returns the grid of cells that tile an axis of `pixels`, as OpenCV's resizing places them."""
    return PIXELS.scaled(pixels / cells)


def interpolation_matrix(positions: np.ndarray, cells: int) -> np.ndarray:
    """Returns the weights that interpolate linearly between the cells of one axis.

    Args:
        positions: (n,) fractional indices of cells. Beyond the outermost centers the values stay
            those of the outermost cells.
        cells: Number of cells.

    Returns:
        (n, cells) float64; each row sums to 1.
    """
    positions = np.clip(positions, 0, cells - 1)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(cells)))
