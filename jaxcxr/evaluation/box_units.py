"""The unit of predicted boxes: pixels of a copy, of the original, or fractions of the image."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxcxr.evaluation.outcome import corners

_OUTSIDE = 1.05
"""Part of the image's side at which a box ends that rounding does not explain."""

_ALIKE = (0.85, 1 / 0.85)
"""Between boxes in one unit: also poor predictions lie about the middle of the image."""


def unit_problem(
    predicted: pd.DataFrame, annotated: pd.DataFrame, width: float, height: float
) -> str | None:
    """Returns why predicted boxes seem to be in pixels of images of another size, or None.

    They do when one ends far outside the image, or when, along both axes, the centers of the
    predicted boxes are on average at 0.85 times the position, or less, of those of the annotated
    boxes of the same images and findings, or at 1 / 0.85 times the position or more.

    Args:
        predicted: image_name, finding, x, y, w, h.
        annotated: The same columns, in the unit that the predicted boxes should have.
        width: Width of the images in that unit.
        height: Height of the images in that unit.
    """
    if predicted.empty:
        return None
    x, y, w, h = corners(predicted).T
    reach = float(max(np.max(x + w) / width, np.max(y + h) / height))
    if reach > _OUTSIDE:
        return f"boxes end at {reach:.4g} times the side of their image"
    pairs = predicted.merge(annotated, on=["image_name", "finding"], suffixes=("", "_true"))
    if pairs.empty:
        return None
    centers, true_centers = (
        pairs[[f"x{end}", f"y{end}"]].to_numpy() + pairs[[f"w{end}", f"h{end}"]].to_numpy() / 2
        for end in ("", "_true")
    )
    across, down = (centers.mean(axis=0) / true_centers.mean(axis=0)).tolist()
    if max(across, down) > _ALIKE[0] and min(across, down) < _ALIKE[1]:
        return None
    return (
        f"centers of boxes are at {across:.2g} (x) and {down:.2g} (y) times the position of those "
        "of the annotated boxes"
    )


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
