"""Whether a probability of 0.3 means three in ten, and temperature scaling to make it so.

Every function takes one finding: `labels` (N,) of zeros and ones and `probabilities` (N,).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from jaxcxr.evaluation.classification import has_both_classes

_COOLEST, _HOTTEST = 0.05, 20.0
"""Bounds of a temperature: separable scores would have it 0, reversed ones infinite."""


class Reliability(NamedTuple):
    """The points of a reliability diagram, one per bin that holds radiographs.

    Attributes:
        predicted: (n,) mean probability of the bin.
        observed: (n,) part of its radiographs with the finding.
        radiographs: (n,) number of them.
    """

    predicted: np.ndarray
    observed: np.ndarray
    radiographs: np.ndarray


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Reliability:
    """Compares probabilities with frequencies in bins of equal width.

    Bin b holds the probabilities from b / bins up to but excluding (b + 1) / bins; the last one
    includes 1.
    """
    bin_of = np.minimum((np.asarray(probabilities) * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    filled = count > 0
    predicted = np.bincount(bin_of, weights=probabilities, minlength=bins)[filled] / count[filled]
    observed = np.bincount(bin_of, weights=labels, minlength=bins)[filled] / count[filled]
    return Reliability(predicted, observed, count[filled])


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> float:
    """Mean distance between probability and frequency over the radiographs (Guo et al. 2017).

    0 for perfect calibration; see `reliability` for the bins. NaN without radiographs.
    """
    if not len(labels):
        return float("nan")
    predicted, observed, count = reliability(labels, probabilities, bins)
    return float(np.average(np.abs(predicted - observed), weights=count))


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared distance between probability and truth (Brier 1950); NaN without radiographs."""
    if not len(labels):
        return float("nan")
    return float(np.mean((np.asarray(probabilities, np.float64) - labels) ** 2))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Finds the temperature with the least cross-entropy (Guo et al. 2017), between 1/20 and 20.

    Fit it on validation. NaN when only one class is there. It can only spread or flatten
    probabilities about one half: those of a loss that weighs findings up, like the paper's, stay
    too high on average.
    """
    if not has_both_classes(labels):
        return float("nan")
    logits = _logits(probabilities)
    signs = np.where(np.asarray(labels, bool), 1.0, -1.0)

    def cross_entropy(coolness: float) -> float:
        return float(np.logaddexp(0, -coolness * signs * logits).mean())

    # In 1 / temperature the loss is convex, so the one minimum is the minimum.
    best = minimize_scalar(cross_entropy, bounds=(1 / _HOTTEST, 1 / _COOLEST), method="bounded")
    return float(1 / best.x)


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns sigmoid(logit(p) / temperature); a NaN temperature leaves probabilities as they are.

    Args:
        probabilities: (...), 0..1.
        temperature: Above 1 flattens, below 1 spreads.
    """
    if np.isnan(temperature):
        return np.asarray(probabilities, np.float64)
    return expit(_logits(probabilities) / temperature)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Returns finite logits: single precision rounds confident probabilities to 0 and 1."""
    margin = np.finfo(np.float32).eps / 2
    return logit(np.asarray(probabilities, np.float64).clip(margin, 1 - margin))
