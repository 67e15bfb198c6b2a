"""Radiographs of any shape as the squares that networks take, and places in them back again."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import numpy as np
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.images.grid import Grid

SquareRule = Literal["squash", "pad"]
"""How radiographs become square: "squash" resizes each axis to the square's side, as NIH did to
its originals; "pad" keeps the aspect and centers the radiograph on black."""

SQUARE_RULES: tuple[SquareRule, ...] = get_args(SquareRule)


@dataclasses.dataclass(frozen=True)
class Square:
    """Where a radiograph lies in its square.

    Attributes:
        width: Width of the radiograph in its own pixels.
        height: Height of the radiograph in its own pixels.
        left: First column of the square that the radiograph fills.
        top: First row of the square that the radiograph fills.
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
        longer = max(width, height)
        columns, rows = (max(1, round(size * side / longer)) for side in (width, height))
        return cls(width, height, (size - columns) // 2, (size - rows) // 2, columns, rows)

    def crop(self, square: np.ndarray) -> np.ndarray:
        """Returns the part of a square (S, S) that the radiograph fills, (rows, columns)."""
        return square[self.top : self.top + self.rows, self.left : self.left + self.columns]

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
    """Resizes a radiograph to a square, bilinearly with antialiasing (Pillow's).

    Args:
        pixels: (H, W) uint8.
        size: Height and width S of the square in pixels.
        rule: How radiographs become square.

    Returns:
        (S, S) uint8, and where the radiograph lies in it.

    Raises:
        UserError: The rule is unknown.
    """
    height, width = pixels.shape
    square = Square.fit(width, height, size, rule)
    resized = Image.fromarray(pixels).resize(
        (square.columns, square.rows), Image.Resampling.BILINEAR
    )
    canvas = np.zeros((size, size), np.uint8)
    square.crop(canvas)[:] = np.asarray(resized)
    return canvas, square
