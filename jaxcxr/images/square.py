"""Radiographs of any shape as the squares that networks take, and places in them back again."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import numpy as np
from PIL import Image
from scipy import ndimage

from jaxcxr.errors import UserError
from jaxcxr.images.grid import Grid

SquareRule = Literal["squash", "pad", "crop"]
"""How radiographs become square: "squash" resizes each axis to the square's side, as NIH did to
its originals; "pad" keeps the aspect and centers the radiograph on black; "crop" keeps the middle
of the longer side, as TorchXRayVision does, and resizes as scikit-image does."""

SQUARE_RULES: tuple[SquareRule, ...] = get_args(SquareRule)


@dataclasses.dataclass(frozen=True)
class Square:
    """Where a radiograph lies in its square.

    Attributes:
        width: Width of the radiograph in its own pixels.
        height: Height of the radiograph in its own pixels.
        left: First column of the square that the radiograph fills; negative where it is cut off.
        top: First row of the square that the radiograph fills; negative where it is cut off.
        columns: Number of columns that it fills.
        rows: Number of rows that it fills.
    """

    width: int
    height: int
    left: int
    top: int
    columns: int
    rows: int

    @classmethod
    def fit(cls, width: int, height: int, size: int, rule: SquareRule) -> Square:
        """Places a radiograph in a square.

        Args:
            width: Width of the radiograph in pixels.
            height: Height of the radiograph in pixels.
            size: Height and width of the square in pixels.
            rule: How radiographs become square.

        Raises:
            UserError: The rule is unknown.
        """
        if rule not in SQUARE_RULES:
            raise UserError(
                f"square is {rule!r}; use one of {', '.join(SQUARE_RULES)}", argument="square"
            )
        if rule == "squash":
            return cls(width, height, 0, 0, size, size)
        side = min(width, height) if rule == "crop" else max(width, height)
        columns, rows = (max(1, round(size * length / side)) for length in (width, height))
        return cls(width, height, (size - columns) // 2, (size - rows) // 2, columns, rows)

    def crop(self, square: np.ndarray) -> np.ndarray:
        """Returns the radiograph (rows, columns) in a square (S, S), black where it was cut off."""
        above, before = max(-self.top, 0), max(-self.left, 0)
        shown = square[
            max(self.top, 0) : self.top + self.rows, max(self.left, 0) : self.left + self.columns
        ]
        rows, columns = shown.shape
        beyond = ((above, self.rows - rows - above), (before, self.columns - columns - before))
        return np.pad(shown, beyond)

    def in_original(self, columns: Grid, rows: Grid) -> tuple[Grid, Grid]:
        """Returns the grids of a map along x and y in pixels of the original radiograph.

        Args:
            columns: Where the map's columns lie, in pixels of the square.
            rows: Where the map's rows lie, in pixels of the square.
        """
        return (
            columns._replace(first_center=columns.first_center - self.left).scaled(
                self.width / self.columns
            ),
            rows._replace(first_center=rows.first_center - self.top).scaled(
                self.height / self.rows
            ),
        )


def make_square(pixels: np.ndarray, size: int, rule: SquareRule) -> tuple[np.ndarray, Square]:
    """Resizes a radiograph to a square, bilinearly with antialiasing.

    Args:
        pixels: (H, W) uint8.
        size: Height and width S of the square in pixels.
        rule: How radiographs become square.

    Returns:
        (S, S), and where the radiograph lies in it. Of "squash" and "pad" uint8, antialiased by
        Pillow; of "crop" float32 of 0 to 255, antialiased by a Gaussian filter.

    Raises:
        UserError: The rule is unknown.
    """
    height, width = pixels.shape
    square = Square.fit(width, height, size, rule)
    if rule == "crop":
        return _cropped(pixels, size), square
    resized = Image.fromarray(pixels).resize(
        (square.columns, square.rows), Image.Resampling.BILINEAR
    )
    canvas = np.zeros((size, size), np.uint8)
    within = slice(square.top, square.top + square.rows)
    canvas[within, square.left : square.left + square.columns] = np.asarray(resized)
    return canvas, square


def _cropped(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resizes the middle square as torchxrayvision does, which is scikit-image's `resize`."""
    side = min(pixels.shape)
    top, left = (length // 2 - side // 2 for length in pixels.shape)
    square = pixels[top : top + side, left : left + side].astype(np.float32)
    outside = 127.5  # torchxrayvision's zero, whose range is symmetric
    if side > size:
        sigma = (side / size - 1) / 2
        square = ndimage.gaussian_filter(square, sigma, mode="grid-constant", cval=outside)
    zoomed = ndimage.zoom(
        square, size / side, order=1, mode="grid-constant", cval=outside, grid_mode=True
    )
    return np.asarray(zoomed, np.float32)
