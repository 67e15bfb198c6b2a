"""Tables of scores as lines for the terminal."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.evaluation.outcome import Level


def auc_text(scores: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """Returns the AUCs of a `score_table` as lines for the terminal.

    A finding without a number says why.
    """
    lines = [f"{'finding':<20}{'AUC':>6}  {'95 % interval':<16}{'positives':>9}{'negatives':>10}"]
    for row in scores.to_dict("records"):
        finding = str(row["finding"])
        if not np.isnan(row["auc"]):
            interval = f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
            score = f"{row['auc']:>6.3f}  {interval:<16}"
        elif finding in predictions or finding == "Mean":
            score = f"{'–':>6}  {'one class only':<16}"
        else:
            score = f"{'–':>6}  {'not in the file':<16}"
        counts = f"{row['positives']:>9}{row['negatives']:>10}" if finding != "Mean" else ""
        lines.append(f"{finding:<20}{score}{counts}".rstrip())
    return "\n".join(lines)


def paired_text(table: pd.DataFrame) -> str:
    """Returns a `paired_table` as lines for the terminal."""
    head = f"{'finding':<20}{'A':>6}{'B':>7}{'A - B':>8}  {'95 % interval':<18}"
    lines = [f"{head}{'p':>8}{'p (Holm)':>10}"]
    for row in table.to_dict("records"):
        if np.isnan(row["difference"]):
            lines.append(f"{row['finding']:<20}{'–':>6}{'–':>7}{'–':>8}  not in both, or one class")
            continue
        interval = f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
        tests = f"{_p_text(row['p_value']):>8}{_p_text(row['p_holm']):>10}"
        lines.append(
            f"{row['finding']:<20}{row['auc_a']:>6.3f}{row['auc_b']:>7.3f}"
            f"{row['difference']:>+8.3f}  {interval:<18}{tests}".rstrip()
        )
    return "\n".join(lines)


def _p_text(p_value: float) -> str:
    if np.isnan(p_value):
        return ""
    return f"{p_value:.4f}" if p_value >= 1e-4 else "<0.0001"


def localization_text(table: pd.DataFrame, intervals: pd.DataFrame) -> str:
    """Returns the accuracies at the paper's two thresholds as lines for the terminal.

    Args:
        table: Of `localization_table`.
        intervals: Of `localization_intervals`.
    """
    rows = table.merge(intervals, on=["finding", "metric", "threshold"])
    shown: list[Level] = [("IoU", 0.3), ("IoBB", 0.25)]
    heads = "".join(f"  {f'{metric} > {threshold:g}':<21}{'AFP':>5}" for metric, threshold in shown)
    lines = [f"{'finding':<14}{'boxes':>6}{heads}"]
    for finding, own in rows.groupby("finding", sort=False):
        at = {(row["metric"], row["threshold"]): row for row in own.to_dict("records")}
        cells = "".join(_accuracy_text(at[level]) for level in shown)
        lines.append(f"{finding:<14}{own['boxes'].iloc[0]:>6}{cells}".rstrip())
    return "\n".join(lines)


def rules_text(table: pd.DataFrame) -> str:
    """Returns how well the boxes of each rule fit, on average over the findings, as lines.

    Args:
        table: `overlap_table` of each rule, with a column rule.
    """
    means = table.loc[table["finding"] == "Mean"].set_index("rule").drop(columns="finding")
    return means.drop(columns="boxes").to_string(float_format="%.3f")


def _accuracy_text(row: dict[Hashable, Any]) -> str:
    if np.isnan(row["accuracy"]):
        return f"  {'–':<26}"
    interval = f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return f"  {row['accuracy']:.3f} {interval:<15}{row['afp']:>5.2f}"
