"""Heat maps to boxes, and how far two boxes overlap.

A box is (x, y, w, h) in pixels, origin top left: it covers [x, x + w) × [y, y + h). A region whose
leftmost pixel column is 3 and whose rightmost is 5 so has x = 3 and w = 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from scipy import ndimage

from jaxcxr.errors import UserError
from jaxcxr.images.grid import Grid, interpolation_matrix, tiles

RegionChoice = Literal["largest", "largest_box", "all"]
"""The region with most pixels, the one with the largest bounding rectangle, or every region."""

Scale = Literal["range", "probability", "peak"]
"""From the map's least to its greatest heat, the values as they are, or relative to the greatest
heat, each 0 to 1."""

Cut = float | Literal["otsu"]
"""From 0 to below 1 on a `Scale`, or the threshold that Otsu's method finds in each map."""

PAPER_CUT = 180 / 255

_CONSTANT = 1e-12
"""Relative range below which a map is constant: what interpolation adds by rounding."""

_ROUNDING = 1e-5
"""By which probabilities that a network computed may pass 0 and 1."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


@dataclasses.dataclass(frozen=True)
class BoxRule:
    """How heat maps become boxes; the default is the paper's rule (section 3.3).

    Attributes:
        scale: Scale on which heat maps are cut.
        cuts: Where they are cut; several give the boxes of each cut.
        by_finding: The one cut of a finding, in place of `cuts`.
        regions: "largest" keeps the region with most pixels of each cut, "largest_box" the one
            with the largest bounding rectangle (the topmost of equals); "all" keeps every region,
            from the top of the image downwards.
        min_area: Regions with fewer pixels are left out, whatever `regions` is.

    Raises:
        UserError: A cut is neither "otsu" nor at least 0 and below 1, there is none, or `scale` or
            `regions` is unknown.
    """

    scale: Scale = "range"
    cuts: tuple[Cut, ...] = (PAPER_CUT,)
    by_finding: Mapping[str, Cut] = dataclasses.field(default_factory=dict)
    regions: RegionChoice = "largest"
    min_area: float = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("scale", self.scale, get_args(Scale)),
            ("regions", self.regions, get_args(RegionChoice)),
        ):
            if value not in known:
                raise UserError(f"{name} is {value!r}; use one of {', '.join(known)}")
        if not self.cuts:
            raise UserError("no cut is given; expected numbers from 0 to below 1, or otsu")
        for cut in (*self.cuts, *self.by_finding.values()):
            if cut != "otsu" and not 0 <= cut < 1:
                raise UserError(f"cut is {cut}; expected a number from 0 to below 1, or otsu")

    def of(self, finding: str) -> BoxRule:
        """Returns the rule of one finding."""
        cut = self.by_finding.get(finding)
        return dataclasses.replace(self, cuts=self.cuts if cut is None else (cut,), by_finding={})


class RegionBoxes(NamedTuple):
    """The boxes of one heat map.

    Attributes:
        boxes: (n, 4) float64, pixels of the image.
        peaks: (n,) float64, the greatest heat in each box on the rule's scale, 0..1.
        cuts: The cut of the rule that gave each of the n boxes.
    """

    boxes: np.ndarray
    peaks: np.ndarray
    cuts: list[Cut]

    def table(
        self, image_name: str, finding: str, probability: float, width: int, height: int
    ) -> pd.DataFrame:
        """Returns the boxes as rows of a table of boxes.

        Args:
            image_name: Name of the image.
            finding: The heat map's finding.
            probability: Of the finding, 0..1.
            width: Width of the image in pixels.
            height: Height of the image in pixels.

        Returns:
            image_name, finding, x, y, w, h, score (`probability` times the peak, 0..1), width and
            height (of the image), cut (of the rule).
        """
        rows = pd.DataFrame(self.boxes, columns=list("xywh"))
        rows.insert(0, "image_name", image_name)
        rows.insert(1, "finding", finding)
        score = (probability * self.peaks).clip(0, 1)
        return rows.assign(score=score, width=width, height=height, cut=self.cuts)


def scale_heatmap(heatmap: np.ndarray, scale: Scale = "range") -> np.ndarray:
    """Brings a heat map to a scale of 0 to 1.

    A constant heat map, which points nowhere, becomes 0 everywhere.

    Args:
        heatmap: (h, w), any real dtype, finite.
        scale: "range" maps the least heat to 0 and the greatest to 1; "peak" divides by the
            greatest heat and sets negative heat to 0; "probability" leaves the heat as it is.

    Returns:
        (h, w) float64.

    Raises:
        UserError: The scale is "probability" and the heat is not within 0 to 1.
    """
    heatmap = np.asarray(heatmap, np.float64)
    low, high = heatmap.min(), heatmap.max()
    if scale == "probability" and not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
        raise UserError(
            f"the heat map has values from {low:.3g} to {high:.3g}; the scale 'probability' is for "
            "maps of probabilities: use 'range' or 'peak'",
            argument="scale",
        )
    if high - low <= _CONSTANT * np.abs(heatmap).max():
        return np.zeros_like(heatmap)
    if scale == "probability":
        return heatmap
    if scale == "peak":
        return (heatmap / high).clip(0) if high > 0 else np.zeros_like(heatmap)
    return (heatmap - low) / (high - low)


def otsu_threshold(heat: np.ndarray) -> float:
    """Finds the threshold between two classes of heat that differ most.

    Otsu 1979, "A threshold selection method from gray-level histograms": the greatest variance
    between the classes, over 256 bins from the least to the greatest heat.

    Args:
        heat: Any shape, finite.

    Returns:
        The center of the last bin of the lower class; the heat itself where all is equal.
    """
    if heat.min() == heat.max():
        return float(heat.max())
    counts, edges = np.histogram(heat, bins=256)
    centers = (edges[:-1] + edges[1:]) / 2
    below, total = counts.cumsum()[:-1], counts.sum()
    sums = (counts * centers).cumsum()
    distance = sums[-1] * below / total - sums[:-1]
    between = distance**2 / np.maximum(below * (total - below), 1)
    return float(centers[between.argmax()])


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
    rule: BoxRule | None = None,
) -> RegionBoxes:
    """Draws boxes around the hot regions of a heat map.

    The map is interpolated to the image's pixels, scaled and cut: a pixel is hot when its heat is
    *greater than* the cut, as OpenCV's binary threshold has it. Hot pixels that touch, also at a
    corner, are one region; its box is its bounding rectangle (paper, section 3.3; 60 and 180 of 255
    are the two cuts of Wang et al. 2017).

    Args:
        heatmap: (h, w), any scale, higher speaks for the finding.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        grid: Where columns and rows lie; see `enlarge`.
        rule: Scale, cuts and choice of regions. Default: the paper's. The boxes of several cuts
            follow each other.

    Raises:
        UserError: The rule is for probabilities and the heat map is none.
    """
    rule = rule or BoxRule()
    heat = scale_heatmap(enlarge(heatmap, width, height, grid), rule.scale)
    boxes, peaks, cuts = [], [], []
    for cut in rule.cuts:
        hot = heat > (otsu_threshold(heat) if cut == "otsu" else cut)
        for x, y, w, h in _regions(hot, rule.regions, rule.min_area):
            boxes.append((x, y, w, h))
            peaks.append(heat[y : y + h, x : x + w].max())
            cuts.append(cut)
    return RegionBoxes(np.array(boxes, np.float64).reshape(-1, 4), np.array(peaks), cuts)


def distinct_boxes(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of boxes without its column cut, a box that several cuts share once."""
    keys = ["image_name", "finding", *"xywh"]
    return table.drop(columns="cut").drop_duplicates(keys, ignore_index=True)


def _regions(
    hot: np.ndarray, regions: RegionChoice, min_area: float
) -> list[tuple[int, int, int, int]]:
    """Returns the bounding rectangles (x, y, w, h) of the connected regions of a mask."""
    hot_rows, hot_columns = np.flatnonzero(hot.any(axis=1)), np.flatnonzero(hot.any(axis=0))
    if not hot_rows.size:
        return []
    left, top = int(hot_columns[0]), int(hot_rows[0])
    hot = hot[top : hot_rows[-1] + 1, left : hot_columns[-1] + 1]  # quicker than all of the image
    marks = np.empty(hot.shape, np.int32)
    ndimage.label(hot, structure=_EIGHT_NEIGHBOURS, output=marks)
    areas = np.bincount(marks.ravel())[1:]
    rectangles = [
        (left + x.start, top + y.start, x.stop - x.start, y.stop - y.start)
        for y, x in ndimage.find_objects(marks)
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
