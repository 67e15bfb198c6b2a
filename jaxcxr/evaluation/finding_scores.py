"""Tables of predictions and labels in, tables of scores out: what the programs write and print.

`predictions` has `Image Index` and findings, `labels` also the patients; both are as
`jaxcxr.evaluation.tables` reads and writes them, with the same radiographs in the same rows. The
findings are those of `labels`: every column that does not describe the patient or the radiograph.
Intervals are 95 %, by bootstrap over patients. Where a score is not defined (a finding that the
predictions do not have, or with one class only) it is NaN, and means leave it out. Labels that are
NaN are unknown: every score leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.evaluation import calibration, classification, statistics
from jaxcxr.evaluation.tables import AGE, PATIENT, PEOPLE, SEX, SOURCE, VIEW

EVERYONE = "All"
"""The group of all radiographs in tables by group."""

AGE_BANDS = ((0, 17), (18, 39), (40, 59), (60, 79), (80, 999))
"""First and last year of each band; old metadata hold ages up to 414."""

SPECIFICITY = 0.9
"""The fixed specificity of the second operating point."""

AUC_COLUMNS = ["finding", "auc", "ci_low", "ci_high", "positives", "negatives", "unknown"]
"""The columns of auc.csv."""

Score = Callable[[np.ndarray, np.ndarray], float]

_CALIBRATION: dict[str, Score] = {
    "brier": calibration.brier_score,
    "ece": calibration.expected_calibration_error,
}
_OTHER_SCORES = {"average_precision": classification.average_precision, **_CALIBRATION}


def score_table(
    labels: pd.DataFrame, predictions: pd.DataFrame, *, bootstraps: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """AUC of every finding with its interval, and three scores more.

    Returns:
        finding, auc, ci_low, ci_high, positives, negatives, unknown, average_precision, brier, ece
        (expected calibration error). The last row, "Mean", has the unweighted means over findings
        and the numbers of labels of those that took part in the mean AUC.
    """
    findings = findings_of(labels)
    truth = labels.loc[:, findings].to_numpy(np.float64)
    aucs = per_finding(classification.auc, labels, predictions)
    scored = ~np.isnan(aucs)
    low, high = statistics.interval(auc_replicates(labels, predictions, scored, bootstraps, seed))
    counted = {"positives": truth == 1, "negatives": truth == 0, "unknown": np.isnan(truth)}
    counts = {name: labeled.sum(axis=0) for name, labeled in counted.items()}
    return pd.DataFrame(
        {
            "finding": [*findings, "Mean"],
            "auc": with_mean(aucs),
            "ci_low": low,
            "ci_high": high,
            **{name: [*count, count[scored].sum()] for name, count in counts.items()},
            **{
                name: with_mean(per_finding(score, labels, predictions))
                for name, score in _OTHER_SCORES.items()
            },
        }
    )


def findings_of(labels: pd.DataFrame) -> list[str]:
    """Returns the names of the findings of a table of labels, in its order."""
    return [name for name in labels if name not in (*PEOPLE, SOURCE)]


def per_finding(score: Score, labels: pd.DataFrame, predictions: pd.DataFrame) -> np.ndarray:
    """Returns the (F,) score of every finding; NaN where the predictions do not have it."""
    return np.array(
        [
            score(labels[name].to_numpy(), predictions[name].to_numpy())
            if name in predictions
            else np.nan
            for name in findings_of(labels)
        ]
    )


def with_mean(values: np.ndarray) -> np.ndarray:
    """Returns (F,) values and below them their mean, those that are NaN left out."""
    return np.append(values, statistics.mean_of_known(values))


def auc_replicates(
    labels: pd.DataFrame, predictions: pd.DataFrame, scored: np.ndarray, bootstraps: int, seed: int
) -> np.ndarray:
    """Returns (B, F + 1) bootstrap AUCs of the findings, NaN where not scored, and their mean."""
    names = [name for name, known in zip(findings_of(labels), scored, strict=True) if known]
    replicates = np.full((bootstraps, len(scored)), np.nan)
    if names:
        replicates[:, scored] = statistics.bootstrap_aucs(
            labels.loc[:, names].to_numpy(),
            predictions.loc[:, names].to_numpy(),
            labels[PATIENT].to_numpy(),
            bootstraps=bootstraps,
            seed=seed,
        )
    return np.column_stack([replicates, statistics.mean_of_known(replicates)])


def groups(labels: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields kind of group, its name and (N,) which radiographs belong to it.

    All radiographs first, then by source, by view, by sex and by age band, those that occur and are
    known.
    """
    yield EVERYONE, EVERYONE, np.ones(len(labels), bool)
    for kind in (kind for kind in (SOURCE, VIEW, SEX) if kind in labels):
        for name in sorted({*labels[kind]} - {""}):
            yield kind, str(name), (labels[kind] == name).to_numpy()
    for first, last in AGE_BANDS if AGE in labels else ():
        members = labels[AGE].between(first, last).fillna(False).to_numpy(bool)
        if members.any():
            yield AGE, f"{first}-{last}" if last < 999 else f"{first}+", members


def by_group(
    table: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame],
    labels: pd.DataFrame,
    predictions: pd.DataFrame,
) -> pd.DataFrame:
    """Makes a table of scores for every group of `groups`, one below the other.

    Returns:
        The table's columns after two more, group and value ("View Position", "PA").
    """
    parts = {
        (kind, name): table(labels.loc[members], predictions.loc[members])
        for kind, name, members in groups(labels)
    }
    stacked = pd.concat(parts).rename_axis(["group", "value", "row"])
    return stacked.reset_index().drop(columns="row")


def operating_points(labels: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Chooses thresholds; do it on validation.

    Returns:
        finding, rule ("youden", "specificity 0.9") and threshold.
    """
    fixed = partial(classification.threshold_at_specificity, specificity=SPECIFICITY)
    rules: dict[str, Score] = {
        "youden": classification.youden_threshold,
        f"specificity {SPECIFICITY}": fixed,
    }
    chosen = [per_finding(rule, labels, predictions) for rule in rules.values()]
    return pd.DataFrame(
        {
            "finding": np.repeat(findings_of(labels), len(rules)),
            "rule": [*rules] * len(chosen[0]),
            "threshold": np.stack(chosen, axis=1).ravel(),
        }
    )


def rates_table(
    labels: pd.DataFrame, predictions: pd.DataFrame, points: pd.DataFrame
) -> pd.DataFrame:
    """Returns `points` (of `operating_points`) with sensitivity, specificity and f1 at them."""
    rates = [
        classification.rates_at(
            labels[finding].to_numpy(), predictions[finding].to_numpy(), threshold
        )
        if finding in predictions
        else classification.Rates(np.nan, np.nan, np.nan)
        for finding, threshold in zip(points["finding"], points["threshold"], strict=True)
    ]
    columns = list(classification.Rates._fields)
    return points.join(pd.DataFrame(rates, columns=columns, index=points.index))


def fit_calibration(labels: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Fits Platt scaling to every finding; do it on validation.

    Returns:
        finding, slope, intercept, positives and radiographs (of the known labels it is fitted to).
    """
    lines = {
        name: calibration.fit_platt(labels[name].to_numpy(), predictions[name].to_numpy())
        for name in findings_of(labels)
        if name in predictions
    }
    names = findings_of(labels)
    table = pd.DataFrame(lines, index=["slope", "intercept"], columns=names, dtype=float)
    fitted = table.T.rename_axis("finding").reset_index()
    truth = labels.loc[:, names]
    return fitted.assign(
        positives=(truth == 1).sum().to_numpy(), radiographs=truth.notna().sum().to_numpy()
    )


def calibration_table(
    labels: pd.DataFrame, predictions: pd.DataFrame, fitted: pd.DataFrame
) -> pd.DataFrame:
    """Compares probabilities as they are and with Platt scaling.

    Returns:
        The columns of `fitted` (of `fit_calibration`), brier and ece, brier_platt and ece_platt.
        The last row, "Mean", has the means of the scores.
    """
    scaled = {
        name: calibration.with_platt(predictions[name].to_numpy(), slope, intercept)
        for name, slope, intercept, *_ in fitted.itertuples(index=False)
        if name in predictions
    }
    columns: dict[str, Any] = {"finding": [*findings_of(labels), "Mean"]}
    columns |= {name: np.append(fitted[name], np.nan) for name in [*fitted][1:]}
    for suffix, table in {"": predictions, "_platt": pd.DataFrame(scaled)}.items():
        for name, score in _CALIBRATION.items():
            columns[f"{name}{suffix}"] = with_mean(per_finding(score, labels, table))
    return pd.DataFrame(columns)


def roc_curves(
    labels: pd.DataFrame, predictions: pd.DataFrame
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns false and true positive rates of every finding that has a curve."""
    curves = {
        name: classification.roc_points(labels[name].to_numpy(), predictions[name].to_numpy())[:2]
        for name in findings_of(labels)
        if name in predictions
    }
    return {name: curve for name, curve in curves.items() if len(curve[0])}
