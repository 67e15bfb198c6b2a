"""Radiographs of any shape in the square that a network sees, and its heat maps back on them."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from jaxcxr.evaluation.boxes import enlarge


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a radiograph lies in its square, which is black around it.

    Attributes:
        width: Width of the radiograph in its own pixels.
        height: Its height likewise.
        left: First column of the square that the radiograph fills.
        top: First row likewise.
        columns: Number of columns that it fills.
        rows: Number of rows likewise.
    """

    width: int
    height: int
    left: int
    top: int
    columns: int
    rows: int

    def crop(self, heatmaps: np.ndarray) -> np.ndarray:
        """Cuts heat maps of the square down to the radiograph.

        What lies on the black beside it then counts neither for the scale of a heat map nor for
        its boxes, and boxes drawn from the result need no mapping back.

        Args:
            heatmaps: (h, w, K), over the whole square.

        Returns:
            (h, w, K) as they are where the radiograph fills the square; else (rows, columns, K),
            enlarged bilinearly to the square's pixels and cut.
        """
        if self.rows == self.columns:
            return heatmaps
        size = max(self.rows, self.columns)
        enlarged = np.stack(
            [enlarge(heatmap, size, size) for heatmap in heatmaps.transpose(2, 0, 1)]
        )
        cut = enlarged[:, self.top : self.top + self.rows, self.left : self.left + self.columns]
        return cut.transpose(1, 2, 0)


def fit_square(pixels: np.ndarray, size: int) -> tuple[np.ndarray, Placement]:
    """Scales a radiograph to fit a square, keeping its aspect, in the middle of black.

    Scaling is bilinear with antialiasing, as in the prepared dataset.

    Args:
        pixels: (H, W) uint8.
        size: Height and width S of the square in pixels.

    Returns:
        (S, S) uint8, and where the radiograph lies in it.
    """
    height, width = pixels.shape
    columns, rows = (max(1, round(size * side / max(height, width))) for side in (width, height))
    left, top = (size - columns) // 2, (size - rows) // 2
    scaled = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR)
    square = np.zeros((size, size), np.uint8)
    square[top : top + rows, left : left + columns] = np.asarray(scaled)
    return square, Placement(width, height, left, top, columns, rows)
