"""Calibration of a network on labeled radiographs of one's own: half to fit, half to report."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxcxr.evaluation import finding_scores, statistics
from jaxcxr.evaluation.tables import PATIENT


class OwnCalibration(NamedTuple):
    """What a calibration on labeled radiographs gives.

    Attributes:
        operating_points: finding, rule, threshold, chosen on one half; sensitivity, specificity and
            f1 on the other, under group and value "All".
        calibration: finding, slope, intercept, positives and radiographs of the half they are
            fitted to; brier and ece of the other, before and after (``_platt``).
        report: Of the half not used to fit: finding, positives, radiographs; auc, sensitivity and
            specificity at Youden's threshold, each with its 95 % interval (``_low``, ``_high``).
    """

    operating_points: pd.DataFrame
    calibration: pd.DataFrame
    report: pd.DataFrame


def calibrate(
    labels: pd.DataFrame, predictions: pd.DataFrame, *, bootstraps: int = 1000, seed: int = 0
) -> OwnCalibration:
    """Fits Platt scaling and operating points to half of the patients and scores the other half.

    Args:
        labels: (N rows) Image Index, Patient ID, and zeros and ones for each finding.
        predictions: Image Index and the probabilities, with the same radiographs in the same rows.
        bootstraps: Draws of patients per interval.
        seed: Seed of the halves and the draws.
    """
    fitting = fitting_half(labels[PATIENT].to_numpy(), seed)
    fit, rest = ((labels.loc[half], predictions.loc[half]) for half in (fitting, ~fitting))
    points = finding_scores.operating_points(*fit)
    rates = finding_scores.rates_table(*rest, points)
    rates.insert(0, "group", finding_scores.EVERYONE)
    rates.insert(1, "value", finding_scores.EVERYONE)
    table = finding_scores.calibration_table(*rest, finding_scores.fit_calibration(*fit))
    youden = points.loc[points["rule"] == "youden", "threshold"].to_numpy(np.float64)
    report = _report(*rest, youden, bootstraps, seed)
    return OwnCalibration(rates, table, report)


def fitting_half(patients: np.ndarray, seed: int) -> np.ndarray:
    """Returns (N,) bool: the radiographs of a random half of the patients, whose ids are given."""
    distinct = np.unique(patients.astype(str))
    drawn = np.random.default_rng(seed).permutation(distinct)[: (len(distinct) + 1) // 2]
    return np.isin(patients.astype(str), drawn)


def _report(
    labels: pd.DataFrame,
    predictions: pd.DataFrame,
    thresholds: np.ndarray,
    bootstraps: int,
    seed: int,
) -> pd.DataFrame:
    findings = finding_scores.findings_of(labels)
    truth = labels[findings].to_numpy(np.float64)
    scores = predictions.reindex(columns=findings).to_numpy(np.float64)
    called = scores >= thresholds
    known = ~np.isnan(scores) & ~np.isnan(thresholds)
    present, absent = (truth == 1) & known, (truth == 0) & known
    draw = partial(
        statistics.bootstrap_rates,
        patients=labels[PATIENT].to_numpy(),
        bootstraps=bootstraps,
        seed=seed,
    )
    table = finding_scores.score_table(labels, predictions, bootstraps=bootstraps, seed=seed)
    table = table.iloc[:-1].rename(columns={"ci_low": "auc_low", "ci_high": "auc_high"})
    table = table.loc[:, ["finding", "positives", "auc", "auc_low", "auc_high"]]
    table.insert(2, "radiographs", (~np.isnan(truth)).sum(0))
    for name, right, counted in (
        ("sensitivity", called, present),
        ("specificity", ~called, absent),
    ):
        count = counted.sum(0)
        rate = np.divide(
            (right & counted).sum(0), count, where=count > 0, out=np.full(len(count), np.nan)
        )
        low, high = statistics.interval(draw(right & counted, counted))
        table = table.assign(**{name: rate, f"{name}_low": low, f"{name}_high": high})
    return table
