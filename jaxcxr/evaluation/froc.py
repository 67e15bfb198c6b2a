"""Free-response ROC: sensitivity of boxes against false positives per image.

Chakraborty and Winter 1990; the rates are those of the LUNA16 challenge (Setio et al. 2017). Every
predicted box of a finding counts, in every image that has an annotated box of any finding: a box
that overlaps no annotated box of its finding by more than a threshold of IoU is a false positive.
An annotated box is found by the box of highest score that overlaps it; further ones count neither
for nor against. NIH's annotators marked some findings of an image, so a false positive may be a
finding that they left out: compare systems by this curve, do not read it as a rate of errors.
"""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportReturnType=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxcxr.evaluation.boxes import iou
from jaxcxr.evaluation.localization import same_finding
from jaxcxr.evaluation.outcome import corners
from jaxcxr.evaluation.statistics import draw_blocks, draw_patients, interval, mean_of_known
from jaxcxr.findings import FINDINGS

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per image at which sensitivity is read."""

POOLED = "All"
"""The curve of all findings' boxes together."""


class Froc(NamedTuple):
    """Sensitivities at fixed rates, and the curves.

    Attributes:
        table: finding, fp_per_image (of `RATES`), sensitivity (the greatest at that rate or less),
            ci_low, ci_high (95 %, bootstrap over patients), boxes. Below the findings come "Mean",
            the unweighted mean over them, and "All", of all boxes together.
        curves: finding, score, fp_per_image, sensitivity: where boxes of this score and above
            count.
    """

    table: pd.DataFrame
    curves: pd.DataFrame


def froc(
    annotated: pd.DataFrame,
    predicted: pd.DataFrame,
    *,
    threshold: float = 0.3,
    bootstraps: int = 1000,
    seed: int = 0,
) -> Froc:
    """Computes the free-response ROC of predicted boxes.

    Args:
        annotated: Annotated boxes with their patient.
        predicted: Predicted boxes with their score; those in other images are left out.
        threshold: IoU above which a box finds an annotated one.
        bootstraps: Number of draws per interval.
        seed: Seed of the draws.
    """
    names, patients = np.unique(annotated["patient"], return_inverse=True)
    once = ~annotated["image_name"].duplicated().to_numpy()
    images = pd.Series(patients[once], annotated["image_name"].to_numpy()[once])
    finding = annotated["finding"].to_numpy(str)
    shown = [name for name in FINDINGS if name in finding]
    inside = predicted["image_name"].isin(images.index) & predicted["finding"].isin(shown)
    predicted = predicted.loc[inside].sort_values("score", ascending=False, kind="stable")
    events = _events(annotated, predicted, images, patients, threshold)
    as_they_are = np.ones((1, len(names)))
    draws = draw_patients(len(names), bootstraps, seed)
    image_counts = np.bincount(images, minlength=len(names))
    values, curves, drawn = [], [], []
    for name in [*shown, POOLED]:
        own = events if name == POOLED else events.loc[events["finding"] == name]
        boxes = np.bincount(patients[(finding == name) | (name == POOLED)], minlength=len(names))
        curve = _curve(own, boxes, image_counts, as_they_are)
        curves.append(pd.DataFrame({"finding": name, **{key: x[-1] for key, x in curve.items()}}))
        values.append(_at_rates(curve)[0])
        blocks = draw_blocks(draws, len(own))
        drawn.append(
            np.concatenate([_at_rates(_curve(own, boxes, image_counts, block)) for block in blocks])
        )
    values.insert(-1, np.mean(values[:-1], axis=0))
    drawn.insert(-1, mean_of_known(np.stack(drawn[:-1], axis=-1)))
    low, high = interval(np.stack(drawn, axis=1))
    counts = [*(int((finding == name).sum()) for name in shown), len(finding), len(finding)]
    table = pd.DataFrame(
        {
            "finding": np.repeat([*shown, "Mean", POOLED], len(RATES)),
            "fp_per_image": [*RATES] * len(values),
            "sensitivity": np.ravel(values),
            "ci_low": low.ravel(),
            "ci_high": high.ravel(),
            "boxes": np.repeat(counts, len(RATES)),
        }
    )
    return Froc(table, pd.concat(curves, ignore_index=True))


def _events(
    annotated: pd.DataFrame,
    predicted: pd.DataFrame,
    images: pd.Series,
    patients: np.ndarray,
    threshold: float,
) -> pd.DataFrame:
    """Returns what predicted boxes, sorted by score, add to their curve.

    Returns:
        finding, score, patient (its number) and found: whether an annotated box of the patient is
        found for the first time, or the box is false.
    """
    case, box = same_finding(annotated, predicted)
    hit = iou(corners(predicted)[box], corners(annotated)[case]) > threshold
    first = np.full(len(annotated), len(predicted))
    np.minimum.at(first, case[hit], box[hit])
    finders = np.flatnonzero(first < len(predicted))
    false = np.setdiff1d(np.arange(len(predicted)), box[hit])
    place = np.concatenate([first[finders], false])
    owner = images.loc[predicted["image_name"]].to_numpy()[false]
    events = (
        predicted[["finding", "score"]]
        .iloc[place]
        .assign(
            patient=np.concatenate([patients[finders], owner]),
            found=np.arange(len(place)) < len(finders),
        )
    )
    return events.sort_values("score", ascending=False)


def _curve(
    events: pd.DataFrame, boxes: np.ndarray, images: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns score (1, n), fp_per_image and sensitivity (B, n) at the n distinct scores.

    Args:
        events: Of `_events`, from the highest score downwards.
        boxes: (P,) annotated boxes of each patient.
        images: (P,) images of each patient.
        weights: (B, P), how often each patient is in each draw.
    """
    score, found = events["score"].to_numpy(), events["found"].to_numpy()
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else []
    of_event = weights[:, events["patient"].to_numpy()]
    total = weights @ boxes[:, None]
    part = np.divide(
        np.cumsum(of_event * found, axis=1)[:, last],
        total,
        where=total > 0,
        out=np.full((len(weights), len(last)), np.nan),
    )
    rate = np.cumsum(of_event * ~found, axis=1)[:, last] / (weights @ images[:, None])
    return {"score": score[last][None], "fp_per_image": rate, "sensitivity": part}


def _at_rates(curve: dict[str, np.ndarray]) -> np.ndarray:
    """Returns (B, R) the greatest sensitivities at `RATES` or less; both only grow on a curve."""
    rate, part = curve["fp_per_image"], curve["sensitivity"]
    start = np.zeros((len(part), 1))
    part = np.concatenate([start, part], axis=1)
    reached = [(rate <= at + 1e-12).sum(axis=1, keepdims=True) for at in RATES]
    return np.concatenate([np.take_along_axis(part, at, axis=1) for at in reached], axis=1)
