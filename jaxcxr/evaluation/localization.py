"""How often predicted boxes meet the annotated ones.

Every annotated box is one case. It is found when any box that was predicted for its finding in its
image overlaps it by *more than* the threshold T (paper, section 5.2); without such a prediction it
is missed. A predicted box is a false positive at T when it overlaps no annotated box of its finding
in its image by more than T. The average number of false positives (AFP) of a finding is taken over
the images that have an annotated box of it: only there is it known where the finding lies.

Tables of boxes have the columns image_name, finding, x, y, w, h (pixels of the original image).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation import boxes as geometry
from jaxcxr.evaluation.outcome import (
    LEVELS,
    Outcome,
    boxed_findings,
    corners,
)
from jaxcxr.evaluation.published_protocol import published_outcome

Protocol = Literal["correct", "published"]

_MEASURES = {"IoU": geometry.iou, "IoBB": geometry.iobb, "IoGT": geometry.iogt}


def score_boxes(
    annotated: pd.DataFrame, predicted: pd.DataFrame, protocol: Protocol = "correct"
) -> Outcome:
    """Scores predicted boxes.

    Args:
        annotated: Annotated boxes; protocol "published" also needs the columns width and height,
            the pixels of the image.
        predicted: Predicted boxes; further columns are ignored.
        protocol: "correct", as this module's text says, or "published", the authors' arithmetic
            with its faults (see `jaxcxr.evaluation.published_protocol`).

    Raises:
        UserError: The protocol is unknown.
    """
    if protocol == "correct":
        return correct_outcome(annotated, predicted)
    if protocol == "published":
        return published_outcome(annotated, predicted)
    raise UserError(f"protocol is {protocol!r}; use correct or published")


def correct_outcome(annotated: pd.DataFrame, predicted: pd.DataFrame) -> Outcome:
    """Scores predicted boxes as this module's text says."""
    keys = ["image_name", "finding"]
    pairs = pd.merge(
        annotated.loc[:, keys].assign(case=np.arange(len(annotated))),
        predicted.loc[:, keys].assign(box=np.arange(len(predicted))),
        on=keys,
    )
    case, box = pairs["case"].to_numpy(), pairs["box"].to_numpy()
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
        points: (M, 2), the peak of each box's heat map; see `boxes.peak_point`.
    """
    finding = annotated["finding"].to_numpy(str)
    hit = geometry.contains(corners(annotated), points)
    unknown = np.full((len(boxed_findings(finding)), 1), np.nan)
    return Outcome(finding, hit[:, None], (("Pointing", np.nan),), unknown)
