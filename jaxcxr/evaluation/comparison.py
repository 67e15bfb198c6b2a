"""Comparison of two systems on the same radiographs: difference, interval and test.

A system may be several runs that differ in their seed. Its score then is the mean over them, and
a difference has two intervals: one over patients, for these very runs; and one over runs and
patients, which holds for other runs, too. Bouthillier et al. 2021, "Accounting for variance in
machine learning benchmarks" (arXiv 2103.03098): conclusions from one run of each system often do
not hold for the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxcxr.evaluation import classification, statistics
from jaxcxr.evaluation.finding_scores import auc_replicates, findings_of, per_finding, with_mean
from jaxcxr.evaluation.localization import score_boxes
from jaxcxr.evaluation.outcome import Outcome, accuracy_replicates, localization_table
from jaxcxr.evaluation.tables import PATIENT


def paired_table(
    labels: pd.DataFrame,
    runs_a: Sequence[pd.DataFrame],
    runs_b: Sequence[pd.DataFrame],
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compares the AUCs of two systems on the same radiographs, finding by finding.

    Args:
        labels: Patients and labels.
        runs_a: The predictions of each run of the first system, with the same radiographs.
        runs_b: The predictions of each run of the second system.
        bootstraps: Number of draws.
        seed: Seed of the draws.

    Returns:
        finding, auc_a, auc_b (means over the runs), difference (a - b), ci_low, ci_high (bootstrap
        over patients), p_value (DeLong's test with patients as clusters), p_holm (corrected for the
        number of findings), positives; with several runs also the columns of `_over_runs`. The last
        row, "Mean", has no p_value. Findings that a run does not have, or that have one class only,
        are NaN.
    """
    patients, runs = labels[PATIENT].to_numpy(), [*runs_a, *runs_b]
    aucs = np.stack([per_finding(classification.auc, labels, run) for run in runs])
    scored = np.asarray(~np.isnan(aucs).any(axis=0))
    scores = np.stack([with_mean(np.where(scored, values, np.nan)) for values in aucs])
    drawn = [auc_replicates(labels, run, scored, bootstraps, seed) for run in runs]
    split = len(runs_a)
    systems = scores[:split], scores[split:], drawn[:split], drawn[split:]
    findings = findings_of(labels)
    p_values = np.full(len(findings) + 1, np.nan)
    for index in np.flatnonzero(scored):
        name = findings[index]
        a, b = (np.stack([run[name] for run in some], axis=1) for some in (runs_a, runs_b))
        p_values[index] = statistics.delong_test(labels[name].to_numpy(), a, b, patients).p_value
    positives = (labels.loc[:, findings] == 1).sum().to_numpy()
    table = pd.DataFrame({"finding": [*findings, "Mean"]})
    return table.assign(
        **_compared("auc", *systems),
        p_value=p_values,
        p_holm=statistics.holm(p_values),
        positives=[*positives, positives[scored].sum()],
        **_over_runs(*systems, p_values, seed, levels=1),
    )


def paired_boxes_table(
    annotated: pd.DataFrame,
    runs_a: Sequence[pd.DataFrame],
    runs_b: Sequence[pd.DataFrame],
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compares the localization accuracies of two systems, by finding and threshold.

    Args:
        annotated: Annotated boxes with their patient.
        runs_a: The predicted boxes of each run of the first system.
        runs_b: The predicted boxes of each run of the second system.
        bootstraps: Number of draws.
        seed: Seed of the draws.

    Returns:
        finding, metric, threshold, accuracy_a, accuracy_b (means over the runs), difference
        (a - b), ci_low, ci_high (bootstrap over patients), p_value (the two systems exchanged at
        random for each patient; see `statistics.exchange_p_values`), p_holm (corrected for the
        number of findings, at each threshold), boxes; with several runs also the columns of
        `_over_runs`. The last rows, "Mean", have no p_holm.
    """
    patients = annotated["patient"].to_numpy()
    outcomes = [score_boxes(annotated, run) for run in (*runs_a, *runs_b)]
    tables = [localization_table(outcome) for outcome in outcomes]
    scores = np.stack([table["accuracy"].to_numpy() for table in tables])
    drawn = [
        accuracy_replicates(outcome, patients, bootstraps, seed).reshape(bootstraps, -1)
        for outcome in outcomes
    ]
    split = len(runs_a)
    systems = scores[:split], scores[split:], drawn[:split], drawn[split:]
    correct = np.stack([outcome.correct for outcome in outcomes]).astype(float)
    difference = correct[:split].mean(axis=0) - correct[split:].mean(axis=0)
    parts = _contributions(difference, outcomes[0], patients)
    p_values = statistics.exchange_p_values(parts, bootstraps, seed)
    levels = len(outcomes[0].levels)
    return tables[0][["finding", "metric", "threshold"]].assign(
        **_compared("accuracy", *systems),
        p_value=p_values,
        p_holm=_holm_by_level(p_values, levels),
        boxes=tables[0]["boxes"],
        **_over_runs(*systems, p_values, seed, levels),
    )


def _contributions(difference: np.ndarray, outcome: Outcome, patients: np.ndarray) -> np.ndarray:
    """Returns (P, (F + 1) · C): what each patient adds to the differences of accuracies.

    Args:
        difference: (M, C) difference of two systems at each case.
        outcome: Names the cases' findings.
        patients: (M,) of each case.
    """
    distinct, patient_of = np.unique(patients, return_inverse=True)
    parts = np.full((len(outcome.findings) + 1, len(distinct), difference.shape[1]), np.nan)
    for row, finding in enumerate(outcome.findings):
        if (cases := outcome.finding == finding).any():
            parts[row] = 0
            np.add.at(parts[row], patient_of[cases], difference[cases] / cases.sum())
    parts[-1] = statistics.mean_of_known(np.moveaxis(parts[:-1], 0, -1))
    return np.moveaxis(parts, 0, 1).reshape(len(distinct), -1)


def _compared(
    name: str,
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    drawn_a: Sequence[np.ndarray],
    drawn_b: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns the scores of two systems, their difference, and its interval over patients."""
    a, b = scores_a.mean(axis=0), scores_b.mean(axis=0)
    low, high = statistics.interval(_mean(drawn_a) - _mean(drawn_b))
    known = np.where(np.isnan(a - b), np.nan, 0)
    columns = {f"{name}_a": a, f"{name}_b": b, "difference": a - b, "ci_low": low, "ci_high": high}
    return {column: values + known for column, values in columns.items()}


def _over_runs(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    drawn_a: Sequence[np.ndarray],
    drawn_b: Sequence[np.ndarray],
    p_values: np.ndarray,
    seed: int,
    levels: int,
) -> dict[str, np.ndarray]:
    """Returns what several runs add: their spread, and interval and p-value over runs, too.

    Columns: sd_a, sd_b (standard deviation over the runs; NaN of one), both_low, both_high (95 %
    interval of the difference, runs and patients drawn), p_both (of the same draws, and at least
    the p-value of these very runs), p_both_holm. Empty if each system has one run.
    """
    if len(scores_a) == len(scores_b) == 1:
        return {}
    rng = np.random.default_rng([seed, 1])
    difference = _with_drawn_runs(drawn_a, rng) - _with_drawn_runs(drawn_b, rng)
    low, high = statistics.interval(difference)
    p_both = np.fmax(statistics.bootstrap_p_values(difference), p_values)
    return {
        "sd_a": _deviation(scores_a),
        "sd_b": _deviation(scores_b),
        "both_low": low,
        "both_high": high,
        "p_both": p_both,
        "p_both_holm": _holm_by_level(p_both, levels),
    }


def _with_drawn_runs(drawn: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Returns (B, K) means over drawn runs of their replicates.

    One run less is drawn than there are: so the variance over runs is not underestimated (Rao and
    Wu 1988), which with three runs would be by a third.
    """
    runs = np.stack(drawn)
    count, bootstraps = runs.shape[:2]
    chosen = rng.integers(count, size=(max(count - 1, 1), bootstraps))
    return runs[chosen, np.arange(bootstraps)].mean(axis=0)


def _mean(drawn: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(drawn, axis=0)


def _deviation(scores: np.ndarray) -> np.ndarray:
    return scores.std(axis=0, ddof=1) if len(scores) > 1 else np.full(scores.shape[1], np.nan)


def _holm_by_level(p_values: np.ndarray, levels: int) -> np.ndarray:
    """Corrects (F + 1) · C p-values for the F findings, at each of C levels; the mean has none."""
    by_level = p_values.reshape(-1, levels).copy()
    by_level[-1] = np.nan
    return np.apply_along_axis(statistics.holm, 0, by_level).ravel()
