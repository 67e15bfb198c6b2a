"""How a radiograph of any shape lies in the square that a network sees, and the way back."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image


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

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """Maps boxes in the square to the radiograph's own pixels and clips them to it.

        Args:
            boxes: (N, 4) x, y, w, h in pixels of the square.

        Returns:
            (N, 4) float x, y, w, h; a box outside of the radiograph has no width or no height.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        scale = (self.width / self.columns, self.height / self.rows)
        corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
        corners = (corners - (self.left, self.top)) * scale
        first, last = np.clip(corners, 0, (self.width, self.height))
        return np.concatenate([first, last - first], axis=1)


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
