"""Heat maps to boxes, and how far two boxes overlap.

A box is (x, y, w, h) in pixels, origin top left: it covers [x, x + w) × [y, y + h). A region whose
leftmost pixel column is 3 and whose rightmost is 5 so has x = 3 and w = 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy import ndimage

from jaxcxr.errors import UserError

RegionChoice = Literal["largest", "all"]

_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


class RegionBoxes(NamedTuple):
    """The boxes of one heat map.

    Attributes:
        boxes: (n, 4) float64, pixels of the image.
        peaks: (n,) float64, the greatest heat in each box, 0..255.
    """

    boxes: np.ndarray
    peaks: np.ndarray


def scale_heatmap(heatmap: np.ndarray) -> np.ndarray:
    """Scales a heat map linearly so that it spans 0 to 255.

    A constant heat map, which points nowhere, becomes 0 everywhere.

    Args:
        heatmap: (h, w), any real dtype, finite.

    Returns:
        (h, w) float64.
    """
    heatmap = np.asarray(heatmap, np.float64)
    low = heatmap.min()
    span = heatmap.max() - low
    if span == 0:
        return np.zeros_like(heatmap)
    return (heatmap - low) / span * 255


def enlarge(heatmap: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resizes a heat map bilinearly to the image's size.

    Cell j of w is centered on pixel position (j + 1/2) · width / w; beyond the outermost centers
    the map goes on unchanged. These are the positions of `jax.image.resize` and of OpenCV.

    Args:
        heatmap: (h, w).
        width: Of the image, pixels.
        height: Of the image, pixels.

    Returns:
        (height, width) float64.
    """
    h, w = heatmap.shape
    return _interpolation(height, h) @ np.asarray(heatmap, np.float64) @ _interpolation(width, w).T


def _interpolation(pixels: int, cells: int) -> np.ndarray:
    """Returns the (pixels, cells) weights of linear interpolation between the cells' centers."""
    positions = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    positions = positions.clip(0, cells - 1)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(cells)))


def heatmap_boxes(
    heatmap: np.ndarray,
    width: int,
    height: int,
    *,
    thresholds: Sequence[float] = (180,),
    regions: RegionChoice = "largest",
    min_area: float = 0,
) -> RegionBoxes:
    """Draws boxes around the hot regions of a heat map.

    The map is scaled to 0..255, enlarged to the image's size and cut: a pixel is hot when its heat
    is *greater than* the threshold, as OpenCV's binary threshold has it. Hot pixels that touch, be
    it at a corner, are one region; its box is its bounding rectangle (paper, section 3.3; 60 and
    180 are the two thresholds of Wang et al. 2017).

    Args:
        heatmap: (h, w), any scale, higher speaks for the finding.
        width: Of the image, pixels.
        height: Of the image, pixels.
        thresholds: Cuts between 0 and 255. The boxes of several cuts follow each other; a box that
            two cuts share is given once.
        regions: "largest" keeps the region with most pixels of each cut (the topmost of equals),
            "all" keeps every region, from the top of the image downwards.
        min_area: Regions with fewer pixels are left out, whatever `regions` is.

    Raises:
        UserError: A threshold is not between 0 and 255, or `regions` is unknown.
    """
    check_thresholds(thresholds)
    if regions not in get_args(RegionChoice):
        raise UserError(f"regions is {regions!r}; use one of {', '.join(get_args(RegionChoice))}")
    heat = enlarge(scale_heatmap(heatmap), width, height)
    cuts = [_regions(heat > threshold, regions, min_area) for threshold in thresholds]
    rectangles = list(dict.fromkeys(rectangle for cut in cuts for rectangle in cut))
    peaks = [heat[y : y + h, x : x + w].max() for x, y, w, h in rectangles]
    boxes = np.array(rectangles, np.float64).reshape(-1, 4)
    return RegionBoxes(boxes, np.array(peaks, np.float64))


def check_thresholds(thresholds: Sequence[float]) -> None:
    """Raises UserError where a threshold is not at least 0 and below 255, or there is none."""
    if not thresholds:
        raise UserError("no threshold is given; heat maps are cut at 0 or more and below 255")
    for threshold in thresholds:
        if not 0 <= threshold < 255:
            raise UserError(
                f"threshold is {threshold}; heat maps are cut at 0 or more and below 255"
            )


def _regions(
    hot: np.ndarray, regions: RegionChoice, min_area: float
) -> list[tuple[int, int, int, int]]:
    """Returns the bounding rectangles (x, y, w, h) of the connected regions of a mask."""
    marks = np.empty(hot.shape, np.int32)
    ndimage.label(hot, structure=_EIGHT_NEIGHBOURS, output=marks)
    areas = np.bincount(marks.ravel())[1:]
    kept = np.flatnonzero(areas >= min_area)
    if regions == "largest" and len(kept):
        kept = kept[[np.argmax(areas[kept])]]
    slices = ndimage.find_objects(marks)
    rectangles = [slices[index] for index in kept]
    return [
        (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        for rows, columns in rectangles
    ]


def peak_points(heatmaps: np.ndarray, widths: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Returns where each heat map is hottest, in pixels of its image.

    That is the center of the hottest cell (the first, row by row, of equals); a bilinear map has
    its maximum there. A constant heat map points nowhere and gives NaN.

    Args:
        heatmaps: (N, h, w).
        widths: (N,) of the images, pixels.
        heights: (N,) of the images, pixels.

    Returns:
        (N, 2) float64: x, y.
    """
    count, h, w = heatmaps.shape
    cells = heatmaps.reshape(count, h * w)
    row, column = np.divmod(cells.argmax(axis=1), w)
    points = np.stack([(column + 0.5) * widths / w, (row + 0.5) * heights / h], axis=1)
    points[cells.min(axis=1) == cells.max(axis=1)] = np.nan
    return points


def contains(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Says which points lie in their box; a NaN point lies in none.

    Args:
        boxes: (..., 4).
        points: (..., 2), x and y.

    Returns:
        (...) bool.
    """
    offset = points - boxes[..., :2]
    return np.all((offset >= 0) & (offset < boxes[..., 2:]), axis=-1)


def area(boxes: np.ndarray) -> np.ndarray:
    """Returns the (...) areas in square pixels of (..., 4) boxes."""
    return boxes[..., 2] * boxes[..., 3]


def intersection(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the area in square pixels that boxes share.

    Args:
        boxes: (..., 4).
        others: (..., 4); the leading shapes broadcast, so that `boxes[:, None]` and `others[None]`
            give the table of all pairs.
    """
    start = np.maximum(boxes[..., :2], others[..., :2])
    stop = np.minimum(boxes[..., :2] + boxes[..., 2:], others[..., :2] + others[..., 2:])
    return np.maximum(stop - start, 0).prod(axis=-1)


def iou(predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Intersection over union, Eq. (3) of the paper.

    Args:
        predicted: (..., 4); broadcasts with `annotated`.
        annotated: (..., 4).

    Returns:
        (...) float64 in 0..1. Two boxes of zero area have overlap 0.
    """
    shared = intersection(predicted, annotated)
    return _ratio(shared, area(predicted) + area(annotated) - shared)


def iobb(predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Intersection over the area of the *predicted* box, Eq. (4) of the paper.

    The reference paper (Wang et al. 2017) says "over the detected B-Box area". Arguments, result
    and edges as in `iou`.
    """
    return _ratio(intersection(predicted, annotated), area(predicted))


def iogt(predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Intersection over the area of the *annotated* box: the part of it that was found.

    Arguments, result and edges as in `iou`.
    """
    return _ratio(intersection(predicted, annotated), area(annotated))


def _ratio(shared: np.ndarray, whole: np.ndarray) -> np.ndarray:
    # x + w - x is not always w: rounding can push the quotient of equal areas past 1.
    shared, whole = np.broadcast_arrays(shared, whole)
    ratio = np.divide(shared, whole, out=np.zeros(shared.shape), where=whole > 0)
    return ratio.clip(0, 1)
