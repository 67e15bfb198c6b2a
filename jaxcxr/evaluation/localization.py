"""How often predicted boxes meet the annotated ones.

Every annotated box is one case. It is found when any box that was predicted for its finding in its
image overlaps it by *more than* the threshold T (paper, section 5.2); without such a prediction it
is missed. A predicted box is a false positive at T when it overlaps no annotated box of its finding
in its image by more than T. The average number of false positives (AFP) of a finding is taken over
the images that have an annotated box of it: only there is it known where the finding lies.

Tables of boxes have the columns image_name, finding, x, y, w, h (pixels of the original image).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxcxr.evaluation import boxes as geometry
from jaxcxr.evaluation.outcome import LEVELS, Level, Outcome, boxed_findings, corners

OVERLAP_LEVELS: tuple[Level, ...] = (
    ("IoU", 0.1),
    ("IoU", 0.3),
    ("IoU", 0.5),
    ("IoBB", 0.25),
    ("IoBB", 0.5),
)
"""The levels of `overlap_table`."""

_MEASURES = {"IoU": geometry.iou, "IoBB": geometry.iobb, "IoGT": geometry.iogt}


def score_boxes(annotated: pd.DataFrame, predicted: pd.DataFrame) -> Outcome:
    """Scores predicted boxes as this module's text says.

    `jaxcxr.evaluation.published_protocol.published_outcome` has the authors' arithmetic.

    Args:
        annotated: Annotated boxes.
        predicted: Predicted boxes; further columns are ignored.
    """
    case, box = same_finding(annotated, predicted)
    candidates, truth = corners(predicted)[box], corners(annotated)[case]
    overlaps = {metric: measure(candidates, truth) for metric, measure in _MEASURES.items()}
    hits = np.stack([overlaps[metric] > threshold for metric, threshold in LEVELS], axis=1)
    judged = np.unique(box)
    false = ~_any_hit(hits, box, len(predicted))[judged]
    return Outcome(
        finding=annotated["finding"].to_numpy(str),
        correct=_any_hit(hits, case, len(annotated)),
        levels=LEVELS,
        afp=_false_positives_per_image(
            annotated, predicted["finding"].to_numpy(str)[judged], false
        ),
        unjudged=len(predicted) - len(judged),
    )


def same_finding(annotated: pd.DataFrame, predicted: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of annotated and predicted boxes of one finding in one image, all pairs."""
    keys = ["image_name", "finding"]
    pairs = pd.merge(
        annotated.loc[:, keys].assign(case=np.arange(len(annotated))),
        predicted.loc[:, keys].assign(box=np.arange(len(predicted))),
        on=keys,
    )
    return pairs["case"].to_numpy(), pairs["box"].to_numpy()


def best_overlaps(annotated: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Compares each annotated box with the boxes predicted for its finding in its image.

    Args:
        annotated: M annotated boxes.
        predicted: Predicted boxes; further columns are ignored.

    Returns:
        M rows: IoU and IoBB, the greatest of any box, and area_ratio, the area of the largest box
        divided by that of the annotated one; 0 where no box was predicted.
    """
    case, box = same_finding(annotated, predicted)
    candidates, truth = corners(predicted)[box], corners(annotated)[case]
    best = np.zeros((len(annotated), 3))
    ratio = geometry.area(candidates) / geometry.area(truth)
    overlaps = geometry.iou(candidates, truth), geometry.iobb(candidates, truth), ratio
    np.maximum.at(best, case, np.stack(overlaps, axis=1))
    return pd.DataFrame(best, columns=["IoU", "IoBB", "area_ratio"])


def overlap_table(annotated: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Summarizes how well predicted boxes fit, per finding.

    Args:
        annotated: Annotated boxes.
        predicted: Predicted boxes; further columns are ignored.

    Returns:
        finding, boxes (annotated), mean_iou, "IoU > 0.1" and the other `OVERLAP_LEVELS` (part of
        the annotated boxes), area_ratio (median of predicted divided by annotated area). The last
        row, "Mean", has the unweighted means over the findings and the number of all boxes.
    """
    finding = annotated["finding"].to_numpy(str)
    best = best_overlaps(annotated, predicted)
    rows = []
    for name in boxed_findings(finding):
        own = best.loc[finding == name]
        found = [(own[metric] > threshold).mean() for metric, threshold in OVERLAP_LEVELS]
        rows.append((name, len(own), own["IoU"].mean(), *found, own["area_ratio"].median()))
    levels = [f"{metric} > {threshold:g}" for metric, threshold in OVERLAP_LEVELS]
    table = pd.DataFrame(rows, columns=["finding", "boxes", "mean_iou", *levels, "area_ratio"])
    table.loc[len(table)] = ["Mean", len(annotated), *table.iloc[:, 2:].mean()]
    return table


def cut_table(
    annotated: pd.DataFrame, predicted: pd.DataFrame, cuts: Sequence[geometry.Cut]
) -> pd.DataFrame:
    """Returns the `overlap_table` of each cut, with a first column cut.

    Args:
        annotated: Annotated boxes.
        predicted: Predicted boxes with a column cut, as `RegionBoxes.table` has it.
        cuts: The cuts; a cut without boxes has no hits.
    """
    parts = [predicted.loc[predicted["cut"] == cut] for cut in cuts]
    tables = [overlap_table(annotated, part) for part in parts]
    return pd.concat(tables, keys=cuts, names=["cut"]).reset_index(level=0)


def _any_hit(hits: np.ndarray, owner: np.ndarray, owners: int) -> np.ndarray:
    """Returns (owners, C) bool: whether any pair of an owner is a hit at a level."""
    found = np.zeros((owners, hits.shape[1]), bool)
    np.logical_or.at(found, owner, hits)
    return found


def _false_positives_per_image(
    annotated: pd.DataFrame, finding: np.ndarray, false: np.ndarray
) -> np.ndarray:
    """Returns (F, C) false positives per image of the judged boxes; NaN without such images."""
    images = annotated.drop_duplicates(["image_name", "finding"])["finding"].to_numpy(str)
    rates = np.full((len(boxed_findings(images)), false.shape[1]), np.nan)
    for row, name in enumerate(boxed_findings(images)):
        if count := np.sum(images == name):
            rates[row] = false[finding == name].sum(axis=0) / count
    return rates


def pointing_game(annotated: pd.DataFrame, points: np.ndarray) -> Outcome:
    """Says whether the hottest point of each heat map lies in the annotated box.

    Zhang et al. 2016, without their tolerance of 15 pixels.

    Args:
        annotated: Annotated boxes.
        points: (M, 2), the peak of each box's heat map, NaN without one; see `boxes.peak_point`.
    """
    finding = annotated["finding"].to_numpy(str)
    boxes = corners(annotated)
    offset = points - boxes[:, :2]
    hit = np.all((offset >= 0) & (offset < boxes[:, 2:]), axis=1)
    unknown = np.full((len(boxed_findings(finding)), 1), np.nan)
    return Outcome(finding, hit[:, None], (("Pointing", np.nan),), unknown)
