"""The scoring behind the paper's Tables 2 and 3, fault by fault, to compare with the correct one.

The tables were computed with three faults, found in the authors' code and checked on NIH's box
list. Each can be put back alone; with none of them the accuracies are those of
`localization.score_boxes` for one predicted box per image and finding.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from jaxcxr.evaluation import boxes as geometry
from jaxcxr.evaluation.box_units import scale_boxes
from jaxcxr.evaluation.outcome import LEVELS, Level, Metric, Outcome, boxed_findings, corners

_GRID = 256
"""The authors score on a grid of 256 × 256: their pixel is four of the original image's."""

_MARGIN = 5
"""Pixels of that grid by which predicted boxes stop short of the right and lower edges."""

_LEVELS: tuple[Level, ...] = tuple(level for level in LEVELS if level[0] != "IoGT")


@dataclasses.dataclass(frozen=True)
class Faults:
    """Which faults of the published scoring are in force.

    Attributes:
        overwritten_rows: Boxes are kept by image name: each row of an image with several is scored
            with the finding and the box of the last one.
        swapped_boxes: The overlap takes the predicted box for the annotated one and the other way
            round, and multiplies the width of the one by the height of the other: "IoBB" divides by
            the annotated area, IoU takes predicted width × annotated height for the predicted area.
        pixel_rules: The intersection is one pixel wider and higher, predicted boxes stop 5 pixels
            short of the image's edge, and an overlap equal to the threshold counts as correct.
    """

    overwritten_rows: bool = True
    swapped_boxes: bool = True
    pixel_rules: bool = True


PUBLISHED = Faults()
NO_FAULTS = Faults(overwritten_rows=False, swapped_boxes=False, pixel_rules=False)


PUBLISHED_RULE = geometry.BoxRule(regions="largest_box")
"""How the authors drew boxes, of heat maps enlarged as if their cells tiled the image."""


def published_outcome(
    annotated: pd.DataFrame, predicted: pd.DataFrame, faults: Faults = PUBLISHED
) -> Outcome:
    """Scores boxes as the authors did: IoU and IoBB of the largest predicted box.

    Args:
        annotated: Annotated boxes (image_name, finding, x, y, w, h) with the width and height of
            their image, pixels.
        predicted: Predicted boxes (image_name, finding, x, y, w, h).
        faults: The faults in force.

    Returns:
        One case per row of `annotated`. False positives, which the authors did not count, are NaN.
    """
    last_row = annotated.drop_duplicates("image_name", keep="last").set_index("image_name")
    cases = annotated
    if faults.overwritten_rows:
        cases = last_row.loc[annotated["image_name"]].reset_index()
    candidates, is_there = _largest(cases, _on_grid(predicted, last_row), faults.pixel_rules)
    overlap = _overlaps(candidates, corners(_on_grid(cases, last_row)), faults)
    correct = [
        is_there & (overlap[metric] >= t if faults.pixel_rules else overlap[metric] > t)
        for metric, t in _LEVELS
    ]
    finding = cases["finding"].to_numpy(str)
    not_counted = np.full((len(boxed_findings(finding)), len(_LEVELS)), np.nan)
    return Outcome(finding, np.stack(correct, axis=1), _LEVELS, not_counted)


def _on_grid(boxes: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Returns the boxes of the images in `sizes` in pixels of the authors' grid."""
    known = boxes.loc[boxes["image_name"].isin(list(sizes.index))]
    size = sizes.loc[known["image_name"], ["width", "height"]].to_numpy(np.float64)
    return scale_boxes(known, size, np.full(2, _GRID))


def _largest(
    cases: pd.DataFrame, predicted: pd.DataFrame, pixel_rules: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (M, 4) largest predicted box of each case, and (M,) whether there is one."""
    if pixel_rules:
        room = _GRID - _MARGIN
        predicted = predicted.assign(
            x=predicted["x"].clip(lower=0),
            y=predicted["y"].clip(lower=0),
            w=np.minimum(predicted["w"], room - predicted["x"]),
            h=np.minimum(predicted["h"], room - predicted["y"]),
        )
    keys = ["image_name", "finding"]
    by_size = np.argsort(-geometry.area(corners(predicted)), kind="stable")
    largest = predicted.iloc[by_size].drop_duplicates(keys)
    chosen = pd.merge(cases.loc[:, keys], largest, on=keys, how="left")
    is_there = chosen["x"].notna().to_numpy()
    return np.nan_to_num(corners(chosen)), is_there


def _overlaps(
    predicted: np.ndarray, annotated: np.ndarray, faults: Faults
) -> dict[Metric, np.ndarray]:
    """Returns IoU and IoBB of (M, 4) pairs of boxes with the faults in force."""
    start = np.maximum(predicted[:, :2], annotated[:, :2])
    stop = np.minimum(predicted[:, :2] + predicted[:, 2:], annotated[:, :2] + annotated[:, 2:])
    shared = np.maximum(stop - start + faults.pixel_rules, 0).prod(axis=1)
    predicted_area = divided_by = geometry.area(predicted)
    if faults.swapped_boxes:
        predicted_area = predicted[:, 2] * annotated[:, 3]
        divided_by = geometry.area(annotated)
    union = predicted_area + geometry.area(annotated) - shared
    return {"IoU": _ratio(shared, union), "IoBB": _ratio(shared, divided_by)}


def _ratio(shared: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole != 0)
