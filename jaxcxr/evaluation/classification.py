"""How well probabilities separate radiographs with a finding from those without it.

Every function takes one finding: `labels` (N,) of zeros and ones and `scores` (N,), higher speaks
for the finding. Radiographs whose label is NaN, unknown, are left out. Where one of the two classes
is missing the result is NaN (scikit-learn raises or warns there).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np

from jaxcxr.errors import UserError

_Settings = ParamSpec("_Settings")
_Result = TypeVar("_Result")


def of_known_labels(
    score: Callable[Concatenate[np.ndarray, np.ndarray, _Settings], _Result],
) -> Callable[Concatenate[np.ndarray, np.ndarray, _Settings], _Result]:
    """Makes a function (labels, scores, …) leave out radiographs whose label is NaN."""

    @functools.wraps(score)
    def wrapper(
        labels: np.ndarray, scores: np.ndarray, *args: _Settings.args, **kwargs: _Settings.kwargs
    ) -> _Result:
        labels = np.asarray(labels)
        if (unknown := np.isnan(labels)).any():
            labels, scores = labels[~unknown], np.asarray(scores)[~unknown]
        return score(labels, scores, *args, **kwargs)

    return wrapper


class Rates(NamedTuple):
    """What a yes-or-no decision at one threshold gets right; NaN where nobody could be right.

    Attributes:
        sensitivity: Part of the radiographs with the finding that are called.
        specificity: Part of the radiographs without it that are not called.
        f1: Harmonic mean of sensitivity and precision.
    """

    sensitivity: float
    specificity: float
    f1: float


def has_both_classes(labels: np.ndarray) -> bool:
    """Returns whether there are radiographs with and without the finding."""
    labels = np.asarray(labels, bool)
    return bool(labels.any() and not labels.all())


@of_known_labels
def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, from ranks: the Mann-Whitney statistic, ties counting one half.

    Equals `sklearn.metrics.roc_auc_score` to rounding. NaN when only one class is there.
    """
    from scipy.stats import rankdata  # takes long to import

    if not has_both_classes(labels):
        return float("nan")
    positive = np.asarray(labels, bool)
    positives = int(positive.sum())
    negatives = len(positive) - positives
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


@of_known_labels
def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean precision over the radiographs with the finding; NaN when only one class is there.

    `sklearn.metrics.average_precision_score`: the step-wise sum, without interpolation.
    """
    from sklearn.metrics import average_precision_score  # takes long to import

    if not has_both_classes(labels):
        return float("nan")
    return float(average_precision_score(labels, scores))


@of_known_labels
def roc_points(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of the ROC curve.

    Returns:
        False positive rates (P,), true positive rates (P,) and thresholds (P,): a radiograph is
        called when its score is at or above the threshold; the first threshold, infinite, calls
        none. Points in the middle of a straight stretch are left out. Three empty arrays when only
        one class is there.
    """
    from sklearn.metrics import roc_curve  # takes long to import

    if not has_both_classes(labels):
        return np.empty(0), np.empty(0), np.empty(0)
    return roc_curve(labels, scores)


def youden_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the threshold with the greatest sensitivity + specificity (Youden 1950).

    NaN when only one class is there. Choose it on validation and use it on test: chosen on test it
    flatters.
    """
    false_positive_rates, true_positive_rates, thresholds = roc_points(labels, scores)
    if not len(thresholds):
        return float("nan")
    return float(thresholds[np.argmax(true_positive_rates - false_positive_rates)])


@of_known_labels
def threshold_at_specificity(labels: np.ndarray, scores: np.ndarray, specificity: float) -> float:
    """Returns the lowest threshold whose specificity is at least the given one.

    It is the next single-precision number above the score of a radiograph without the finding:
    above that score in float32, in float64, and printed with the digits of float32 and read back.
    NaN when only one class is present. As with `youden_threshold`, choose it on validation.

    Args:
        labels: (N,), zeros and ones.
        scores: (N,) float32 or float64.
        specificity: Above 0, at most 1.

    Returns:
        A number that float32 represents; above 1 where a score of 1 must not be called.

    Raises:
        UserError: `specificity` is not above 0 and at most 1.
    """
    if not 0 < specificity <= 1:
        raise UserError(f"specificity is {specificity}; expected a number above 0, at most 1")
    if not has_both_classes(labels):
        return float("nan")
    negatives = np.sort(np.asarray(scores, np.float32)[np.asarray(labels) == 0])
    uncalled = np.searchsorted(np.arange(len(negatives) + 1) / len(negatives), specificity)
    return float(np.nextafter(negatives[uncalled - 1], np.float32(np.inf)))


@of_known_labels
def rates_at(labels: np.ndarray, scores: np.ndarray, threshold: float) -> Rates:
    """Calls every radiograph whose score is at or above the threshold, and counts.

    Scores are compared in float64. All three rates are NaN for a NaN threshold; sensitivity and F1
    without radiographs with the finding, specificity without radiographs without it.
    """
    if np.isnan(threshold):
        return Rates(float("nan"), float("nan"), float("nan"))
    present = np.asarray(labels, bool)
    called = np.asarray(scores, np.float64) >= threshold
    hits = float(np.sum(called & present))
    positives = float(present.sum())
    negatives = len(present) - positives
    return Rates(
        sensitivity=hits / positives if positives else float("nan"),
        specificity=float(np.sum(~called & ~present)) / negatives if negatives else float("nan"),
        f1=2 * hits / (float(called.sum()) + positives) if positives else float("nan"),
    )
