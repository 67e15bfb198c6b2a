"""Which annotated boxes were found at which thresholds, and the tables made of it.

Arrays here have the cases M (annotated boxes), the levels C (a metric with a threshold) and the
findings F along their axes.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd

from jaxcxr.evaluation.statistics import draw_blocks, draw_patients, interval, mean_of_known
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS

Metric = Literal["IoU", "IoBB", "IoGT", "Pointing"]
Level = tuple[Metric, float]

THRESHOLDS: dict[Metric, tuple[float, ...]] = {
    "IoU": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "IoBB": (0.1, 0.25, 0.5, 0.75, 0.9),
    "IoGT": (0.1, 0.25, 0.5, 0.75, 0.9),
}
"""The thresholds T of each metric (paper, section 5.2; IoGT has those of IoBB)."""

LEVELS: tuple[Level, ...] = tuple(
    (metric, threshold) for metric, thresholds in THRESHOLDS.items() for threshold in thresholds
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a way of scoring says about every annotated box.

    Attributes:
        finding: (M,) finding of each case.
        correct: (M, C) bool: whether the case is found at a level.
        levels: The C metrics and thresholds.
        afp: (F, C) false positives per image of the `findings`; NaN where they are not known.
        unjudged: Predicted boxes of findings that their image has no annotated box of.
    """

    finding: np.ndarray
    correct: np.ndarray
    levels: tuple[Level, ...]
    afp: np.ndarray
    unjudged: int = 0

    @property
    def findings(self) -> list[str]:
        """NIH's eight findings with boxes, and any other that a case has, in order."""
        return boxed_findings(self.finding)


def boxed_findings(present: np.ndarray) -> list[str]:
    """Returns NIH's eight findings with boxes, and any other of those present, in order."""
    there = {*BOXED_FINDINGS, *present}
    return [finding for finding in FINDINGS if finding in there]


def corners(boxes: pd.DataFrame) -> np.ndarray:
    """Returns the (N, 4) float64 boxes of a table with columns x, y, w, h."""
    return np.stack([boxes[name].to_numpy(np.float64) for name in "xywh"], axis=1)


def localization_table(outcome: Outcome) -> pd.DataFrame:
    """Accuracy and false positives for every finding and level.

    Returns:
        finding, metric, threshold, accuracy (part of the annotated boxes that were found), boxes
        (their number) and afp. The last rows, finding "Mean", have the unweighted means over the
        findings with boxes and the number of all boxes. A finding without boxes has NaN.
    """
    boxes = [np.sum(outcome.finding == finding) for finding in outcome.findings]
    return _by_level(outcome).assign(
        accuracy=_accuracies(outcome, np.ones((1, len(outcome.finding)))).ravel(),
        boxes=np.repeat([*boxes, sum(boxes)], len(outcome.levels)),
        afp=_with_mean(outcome.afp).ravel(),
    )


def at_level(table: pd.DataFrame, level: Level) -> pd.DataFrame:
    """Returns the rows of a table with metric and threshold that are about one level."""
    metric, threshold = level
    return table.loc[(table["metric"] == metric) & np.isclose(table["threshold"], threshold)]


def localization_intervals(
    outcome: Outcome, patients: np.ndarray, *, bootstraps: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """95 % intervals of the accuracies, by bootstrap over patients.

    A draw weighs each patient's cases: the accuracies of all draws are one product of matrices.

    Args:
        outcome: The cases, and which of them are found.
        patients: (M,) patient of each case.
        bootstraps: Number of draws.
        seed: Seed of the draws.

    Returns:
        finding, metric, threshold, ci_low, ci_high; the rows of `localization_table`.
    """
    low, high = interval(accuracy_replicates(outcome, patients, bootstraps, seed))
    return _by_level(outcome).assign(ci_low=low.ravel(), ci_high=high.ravel())


def accuracy_replicates(
    outcome: Outcome, patients: np.ndarray, bootstraps: int, seed: int
) -> np.ndarray:
    """Returns (B, F + 1, C) accuracies of the findings and their mean in every draw of patients."""
    distinct, patient_of = np.unique(patients, return_inverse=True)
    blocks = draw_blocks(draw_patients(len(distinct), bootstraps, seed), len(patient_of))
    return np.concatenate([_accuracies(outcome, block[:, patient_of]) for block in blocks])


def _by_level(outcome: Outcome) -> pd.DataFrame:
    """Returns finding, metric, threshold of the rows of a table; "Mean" is the last finding."""
    rows = [*outcome.findings, "Mean"]
    return pd.DataFrame(
        {
            "finding": np.repeat(rows, len(outcome.levels)),
            "metric": [metric for metric, _ in outcome.levels] * len(rows),
            "threshold": [threshold for _, threshold in outcome.levels] * len(rows),
        }
    )


def _accuracies(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """Returns the (B, F + 1, C) parts of correct cases, weighed by (B, M), and their means."""
    parts = []
    for finding in outcome.findings:
        cases = outcome.finding == finding
        total = weights[:, cases].sum(axis=1, keepdims=True)
        absent = np.full((len(weights), len(outcome.levels)), np.nan)
        correct = weights[:, cases] @ outcome.correct[cases]
        parts.append(np.divide(correct, total, out=absent, where=total > 0))
    return _with_mean(np.stack(parts, axis=1))


def _with_mean(values: np.ndarray) -> np.ndarray:
    """Appends to (..., F, C) values their means over the findings."""
    means = mean_of_known(np.moveaxis(values, -2, -1))
    return np.concatenate([values, means[..., None, :]], axis=-2)
