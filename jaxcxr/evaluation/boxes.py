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
from jaxcxr.images.grid import Grid, interpolation_matrix, tiles

RegionChoice = Literal["largest", "largest_box", "all"]
"""The region with most pixels, the one with the largest bounding rectangle, or every region."""

_CONSTANT = 1e-12
"""Relative range below which a map is constant: what interpolation adds by rounding."""

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
    if span <= _CONSTANT * np.abs(heatmap).max():
        return np.zeros_like(heatmap)
    return (heatmap - low) / span * 255


def enlarge(
    heatmap: np.ndarray, width: int, height: int, grid: tuple[Grid, Grid] | None = None
) -> np.ndarray:
    """Interpolates a heat map bilinearly to the image's pixels.

    Beyond the outermost centers the map continues unchanged.

    Args:
        heatmap: (h, w).
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        grid: Where columns and rows lie, in pixels of the image. Default: the cells tile the
            image, as `jax.image.resize` and OpenCV place them.

    Returns:
        (height, width) float64.
    """
    columns, rows = grid or _tiles(heatmap, width, height)
    h, w = heatmap.shape
    down = interpolation_matrix(rows.positions(np.arange(height)), h)
    across = interpolation_matrix(columns.positions(np.arange(width)), w)
    return down @ np.asarray(heatmap, np.float64) @ across.T


def _tiles(heatmap: np.ndarray, width: int, height: int) -> tuple[Grid, Grid]:
    return tiles(width, heatmap.shape[1]), tiles(height, heatmap.shape[0])


def heatmap_boxes(
    heatmap: np.ndarray,
    width: int,
    height: int,
    grid: tuple[Grid, Grid] | None = None,
    *,
    thresholds: Sequence[float] = (180,),
    regions: RegionChoice = "largest",
    min_area: float = 0,
) -> RegionBoxes:
    """Draws boxes around the hot regions of a heat map.

    The map is interpolated to the image's pixels, scaled to 0..255 and cut: a pixel is hot when its
    heat is *greater than* the threshold, as OpenCV's binary threshold has it. Hot pixels that
    touch, also at a corner, are one region; its box is its bounding rectangle (paper, section 3.3;
    60 and 180 are the two thresholds of Wang et al. 2017).

    Args:
        heatmap: (h, w), any scale, higher speaks for the finding.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        grid: Where columns and rows lie; see `enlarge`.
        thresholds: Cuts between 0 and 255. The boxes of several cuts follow each other; a box that
            two cuts share is given once.
        regions: "largest" keeps the region with most pixels of each cut, "largest_box" the one
            with the largest bounding rectangle (the topmost of equals); "all" keeps every region,
            from the top of the image downwards.
        min_area: Regions with fewer pixels are left out, whatever `regions` is.

    Raises:
        UserError: A threshold is not between 0 and 255, or `regions` is unknown.
    """
    check_thresholds(thresholds)
    if regions not in get_args(RegionChoice):
        raise UserError(f"regions is {regions!r}; use one of {', '.join(get_args(RegionChoice))}")
    heat = scale_heatmap(enlarge(heatmap, width, height, grid))
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
    rectangles = [
        (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        for rows, columns in ndimage.find_objects(marks)
    ]
    kept = [index for index, area in enumerate(areas) if area >= min_area]
    if regions == "largest":
        kept = [max(kept, key=areas.__getitem__)] if kept else []
    elif regions == "largest_box":
        sizes = [w * h for _, _, w, h in rectangles]
        kept = [max(kept, key=sizes.__getitem__)] if kept else []
    return [rectangles[index] for index in kept]


def peak_point(
    heatmap: np.ndarray, width: int, height: int, grid: tuple[Grid, Grid] | None = None
) -> np.ndarray:
    """Returns where a heat map is hottest over its image.

    A bilinear map is hottest at the center of a cell, or at the image's edge where that cuts a
    cell off. Of equals the first one counts, row by row.

    Args:
        heatmap: (h, w).
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        grid: Where columns and rows lie; see `enlarge`.

    Returns:
        (2,) float64: x, y with the image's left upper corner at 0, 0; NaN for a heat map that is
        constant over the image.
    """
    sides = (width, height)
    grid = grid or _tiles(heatmap, width, height)
    across, down = (
        axis.centers(cells).clip(0, side - 1)
        for axis, cells, side in zip(grid, heatmap.shape[::-1], sides, strict=True)
    )
    columns, rows = (
        interpolation_matrix(axis.positions(centers), cells)
        for axis, centers, cells in zip(grid, (across, down), heatmap.shape[::-1], strict=True)
    )
    heat = scale_heatmap(rows @ np.asarray(heatmap, np.float64) @ columns.T)
    if not heat.any():
        return np.full(2, np.nan)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return np.array([across[column], down[row]]) + 0.5


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
