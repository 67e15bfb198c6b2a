"""The unit of predicted boxes: pixels of a copy, of the original, or fractions of the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxcxr.evaluation.outcome import corners


class Extent(NamedTuple):
    """How far boxes reach from the image's left and upper edge.

    Attributes:
        right: Greatest x + w.
        bottom: Greatest y + h.
        fraction: The greater of the two as a part of the image's width or height.
    """

    right: float
    bottom: float
    fraction: float


def boxes_extent(boxes: pd.DataFrame, width: float, height: float) -> Extent | None:
    """Returns how far boxes reach, None without boxes.

    Annotated boxes of a release reach nearly to the edges. Where no box passes half of the image
    (`fraction` at most 0.5) or one ends far outside (above 1), the boxes seem to be in the pixels
    of images of another size.

    Args:
        boxes: x, y, w, h.
        width: Width of the images in the unit that the boxes should have, pixels.
        height: Height of them.
    """
    if boxes.empty:
        return None
    x, y, w, h = corners(boxes).T
    right, bottom = float((x + w).max()), float((y + h).max())
    return Extent(right, bottom, max(right / width, bottom / height))


def scale_boxes(boxes: pd.DataFrame, drawn_in: np.ndarray, target: np.ndarray) -> pd.DataFrame:
    """Converts boxes from one size of their images to another, per axis.

    Args:
        boxes: x, y, w, h, and further columns, which stay.
        drawn_in: (2,) or (N, 2), width and height of the images in the boxes' unit; (1, 1) for
            fractions.
        target: (2,) or (N, 2), width and height of the images in the wanted unit.
    """
    factors = np.broadcast_to(np.divide(target, drawn_in), (len(boxes), 2))
    scaled = corners(boxes) * np.tile(factors, 2)
    return boxes.assign(**dict(zip("xywh", scaled.T, strict=True)))
