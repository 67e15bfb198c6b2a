"""Comparison of two models on the same radiographs: difference, interval and test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxcxr.evaluation import classification, statistics
from jaxcxr.evaluation.finding_scores import auc_replicates, per_finding, with_mean
from jaxcxr.evaluation.tables import PATIENT
from jaxcxr.findings import FINDINGS


def paired_table(
    labels: pd.DataFrame,
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compares two models on the same radiographs, finding by finding.

    Returns:
        finding, auc_a, auc_b, difference (a - b), ci_low, ci_high (bootstrap over patients),
        p_value (DeLong's test with patients as clusters), p_holm (corrected for the number of
        findings), positives. The last row, "Mean", has no p-values. Findings that a model does not
        have, or that have one class only, are NaN.
    """
    patients = labels[PATIENT].to_numpy()
    aucs = [
        per_finding(classification.auc, labels, table) for table in (predictions_a, predictions_b)
    ]
    scored = ~np.isnan(aucs[0] + aucs[1])
    aucs = [np.where(scored, values, np.nan) for values in aucs]
    replicates = [
        auc_replicates(labels, table, scored, bootstraps, seed)
        for table in (predictions_a, predictions_b)
    ]
    low, high = statistics.interval(replicates[0] - replicates[1])
    p_values = np.full(len(FINDINGS), np.nan)
    for index in np.flatnonzero(scored):
        truth, a, b = (
            table[FINDINGS[index]].to_numpy() for table in (labels, predictions_a, predictions_b)
        )
        p_values[index] = statistics.delong_test(truth, a, b, patients).p_value
    positives = (labels.loc[:, list(FINDINGS)] == 1).sum().to_numpy()
    means = [with_mean(values) for values in aucs]
    return pd.DataFrame(
        {
            "finding": [*FINDINGS, "Mean"],
            "auc_a": means[0],
            "auc_b": means[1],
            "difference": means[0] - means[1],
            "ci_low": low,
            "ci_high": high,
            "p_value": np.append(p_values, np.nan),
            "p_holm": np.append(statistics.holm(p_values), np.nan),
            "positives": [*positives, positives[scored].sum()],
        }
    )
