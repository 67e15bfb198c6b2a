"""In which pixels the annotated boxes of a release are.

NIH's list is in pixels of its PNG files of 1024×1024. People resize the files and keep the list.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxcxr.data.releases.nih_lists import describe_boxes
from jaxcxr.data.releases.problems import Problems

BOXES_NAME = "BBox_List_2017.csv"
NIH_SIDE = 1024

_SLACK = 0.5
"""Annotators' rounding may reach so many pixels over the edge."""


def in_png_pixels(
    boxes: pd.DataFrame, sizes: np.ndarray, side: int | None, problems: Problems
) -> tuple[pd.DataFrame, list[str]]:
    """Scales boxes from the pictures that a list is about to the PNG files.

    Each axis is scaled by its own factor: NIH's PNG files are squashed originals, and so are copies
    of them. Whether boxes fit in smaller files does not matter: most do in files of 768×768.

    Args:
        boxes: Columns x, y, w and h, and those that name a box in messages.
        sizes: (N, 2) widths and heights of their PNG files, infinite where they are unknown.
        side: Height and width of the pictures that the list is about, 0 for the PNG files
            themselves; None for 1024, or 0 where boxes reach beyond that and fit the PNG files.
        problems: Where boxes outside their image are added.

    Returns:
        The boxes, unchanged where the file is unknown; a note where boxes were scaled, or were not
        in spite of NIH's size.
    """
    corners, spans = boxes[["x", "y"]].to_numpy(), boxes[["w", "h"]].to_numpy()
    ends = corners + spans
    automatic, notes = side is None, []
    if side is None:
        beyond = ends.max(initial=0) > NIH_SIDE + _SLACK
        side = 0 if beyond and (ends <= sizes + _SLACK).all() else NIH_SIDE
        if not side:
            notes.append(
                f"{BOXES_NAME}: boxes reach beyond {NIH_SIDE} pixels, so that all are taken in "
                "pixels of the PNG files (box_image_size=0)"
            )
    pictures = np.where(np.isfinite(sizes) & bool(side), side, sizes)
    outside = ((corners < -_SLACK) | (ends > pictures + _SLACK)).any(axis=1)
    problems.add(
        f"{BOXES_NAME} has boxes outside their image",
        describe_boxes(boxes.loc[outside]),
        f"read in pixels of {f'{side}×{side} pictures' if side else 'the PNG files'}; if they are "
        "of other pictures, give the height and width of these",
        "box_image_size",
    )
    scaled = (pictures != sizes).any(axis=1)
    if scaled.any():
        kinds = sorted({f"{width:g}×{height:g}" for width, height in sizes[scaled]})
        shown = ", ".join(kinds[:3]) + (" …" if len(kinds) > 3 else "")
        notes.append(
            f"{BOXES_NAME}: {scaled.sum():,} boxes are scaled from {side}×{side} pixels to those "
            f"of the PNG files, {shown}"
            + ("; box_image_size=0 keeps them as they are" if automatic else "")
        )
    factors = np.ones_like(sizes)
    factors[scaled] = sizes[scaled] / pictures[scaled]
    values = np.hstack([corners * factors, spans * factors])
    return boxes.assign(**dict(zip("xywh", values.T, strict=True))), notes
