"""Calibration: whether a probability of 0.3 means three in ten, and how to make it so.

Every function takes one finding: `labels` (N,) of zeros and ones and `probabilities` (N,).
Radiographs whose label is NaN, unknown, are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from jaxcxr.errors import UserError
from jaxcxr.evaluation.classification import has_both_classes, of_known_labels

_SLOPES = (1 / 20, 20)
"""Bounds of a slope: separable scores would have it infinite, reversed ones negative."""


class Platt(NamedTuple):
    """Platt scaling: sigmoid(slope · logit(p) + intercept).

    Attributes:
        slope: 1 / the temperature of temperature scaling; above 1 spreads, below 1 flattens.
        intercept: Negative where probabilities are too high on average.
    """

    slope: float
    intercept: float


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


@of_known_labels
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


@of_known_labels
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


@of_known_labels
def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared distance between probability and truth (Brier 1950); NaN without radiographs."""
    if not len(labels):
        return float("nan")
    return float(np.mean((np.asarray(probabilities, np.float64) - labels) ** 2))


@of_known_labels
def fit_platt(labels: np.ndarray, probabilities: np.ndarray) -> Platt:
    """Finds the slope (from 1/20 to 20) and intercept with the least cross-entropy (Platt 1999).

    Fit it on validation. NaN when only one class is there. A temperature alone could not lower
    probabilities that a loss which weighs findings up, like the paper's, makes too high.
    """
    from scipy.optimize import minimize  # takes long to import

    if not has_both_classes(labels):
        return Platt(float("nan"), float("nan"))
    logits = _logits(probabilities)
    truth = np.asarray(labels, np.float64)

    def cross_entropy(line: np.ndarray) -> tuple[float, np.ndarray]:
        lifted = line[0] * logits + line[1]
        error = expit(lifted) - truth
        loss = np.mean(np.logaddexp(0, lifted) - truth * lifted)
        return float(loss), np.array([np.mean(error * logits), np.mean(error)])

    bounds = [_SLOPES, (None, None)]
    best = minimize(cross_entropy, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds)
    return Platt(float(best.x[0]), float(best.x[1]))


def with_platt(probabilities: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Returns sigmoid(slope · logit(p) + intercept); NaN leaves probabilities as they are.

    Args:
        probabilities: (...), 0..1.
        slope: Of `fit_platt`.
        intercept: Of `fit_platt`.
    """
    if np.isnan(slope):
        return np.asarray(probabilities, np.float64)
    return expit(slope * _logits(probabilities) + intercept)


def at_prevalence(intercept: float, fitted: float, wanted: float) -> float:
    """Moves a calibration to a population in which the finding is rarer or more frequent.

    Where radiographs with the finding look alike in both populations, and those without it too, the
    odds change by the ratio of the prevalences' odds: o' = o · [π'/(1−π')] / [π/(1−π)] (Saerens,
    Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori
    probabilities", equation 2.4, for two classes). For Platt scaling, whose odds are
    exp(slope · logit(p) + intercept), only the intercept moves.

    Args:
        intercept: Of `fit_platt`.
        fitted: π, the part of the radiographs it was fitted to that has the finding.
        wanted: π', the part of one's own population, above 0 and below 1.

    Returns:
        The intercept there: intercept + logit(π') − logit(π).

    Raises:
        UserError: `wanted` is not above 0 and below 1.
    """
    if not 0 < wanted < 1:
        raise UserError(
            f"the prevalence is {wanted}; expected a number above 0 and below 1",
            argument="prevalence",
        )
    return float(intercept + logit(wanted) - logit(fitted))


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Returns finite logits: single precision rounds confident probabilities to 0 and 1."""
    margin = np.finfo(np.float32).eps / 2
    return logit(np.asarray(probabilities, np.float64).clip(margin, 1 - margin))
