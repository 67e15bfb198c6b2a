"""Tables of scores as lines for the terminal."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxcxr.evaluation.outcome import Level, at_level

_SHOWN_LEVELS: tuple[Level, ...] = (("IoU", 0.3), ("IoBB", 0.25))
"""The thresholds of localization in the terminal."""


def auc_text(scores: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """Returns the AUCs of a `score_table`, and why a finding has none.

    Args:
        scores: Of `jaxcxr.evaluation.finding_scores.score_table`.
        predictions: The predictions that were scored.
    """
    scores = scores.set_index("finding")
    counts = scores[["positives", "negatives", "unknown"]]
    scored = scores.index.isin([*predictions, "Mean"])
    labeled = counts["positives"] + counts["negatives"] > 0
    reasons = np.where(labeled, "one class only", "no known label")
    reasons = np.where(scored, reasons, "not in the file")
    intervals = _intervals(scores).where(scores["auc"].notna(), reasons)
    shown_counts = counts if sum(counts["unknown"]) else counts.drop(columns="unknown")
    shown = pd.DataFrame({"AUC": scores["auc"], "95 % interval": intervals})
    return _lines(shown.join(shown_counts))


def paired_text(table: pd.DataFrame) -> str:
    """Returns the AUCs of two systems, their difference, its intervals and p-values.

    Args:
        table: Of `jaxcxr.evaluation.comparison.paired_table`.
    """
    return _lines(_paired(table.set_index("finding"), "auc", "not in both, or one class"))


def paired_boxes_text(table: pd.DataFrame) -> str:
    """Returns the localization accuracies of two systems at two thresholds, and their difference.

    Args:
        table: Of `jaxcxr.evaluation.comparison.paired_boxes_table`.
    """
    parts = []
    for metric, threshold in _SHOWN_LEVELS:
        at = at_level(table, (metric, threshold)).set_index("finding")
        shown = _paired(at, "accuracy", "no boxes")
        shown.insert(0, "boxes", at["boxes"])
        parts.append(f"{metric} > {threshold}\n{_lines(shown)}")
    return "\n\n".join(parts)


def _paired(table: pd.DataFrame, score: str, reason: str) -> pd.DataFrame:
    """Returns the columns of a comparison for the terminal, those over runs if they are there."""
    known = table["difference"].notna()
    columns = {
        "A": table[f"{score}_a"],
        "B": table[f"{score}_b"],
        "A - B": table["difference"].map("{:+.3f}".format, na_action="ignore"),
        "95 % interval": _intervals(table, "+").where(known, reason),
        "p": table["p_value"].map(_p_text, na_action="ignore"),
        "p (Holm)": table["p_holm"].map(_p_text, na_action="ignore"),
    }
    if "p_both" in table:
        both = pd.DataFrame({"ci_low": table["both_low"], "ci_high": table["both_high"]})
        columns |= {
            "sd A": table["sd_a"],
            "sd B": table["sd_b"],
            "95 % with runs": _intervals(both, "+"),
            "p with runs": table["p_both"].map(_p_text, na_action="ignore"),
            "(Holm)": table["p_both_holm"].map(_p_text, na_action="ignore"),
        }
    return pd.DataFrame(columns)


def localization_text(table: pd.DataFrame, intervals: pd.DataFrame) -> str:
    """Returns the accuracies at the paper's two thresholds.

    Args:
        table: Of `jaxcxr.evaluation.outcome.localization_table`.
        intervals: Of `jaxcxr.evaluation.outcome.localization_intervals`.
    """
    rows = table.merge(intervals, on=["finding", "metric", "threshold"])
    parts = [rows.groupby("finding", sort=False)["boxes"].first()]
    for metric, threshold in _SHOWN_LEVELS:
        at = at_level(rows, (metric, threshold)).set_index("finding")
        name = f"{metric} > {threshold}"
        columns = {name: at["accuracy"], "95 % interval": _intervals(at), "AFP": at["afp"]}
        parts.append(pd.DataFrame(columns))
    return _lines(pd.concat(parts, axis=1))


def froc_text(table: pd.DataFrame) -> str:
    """Returns the sensitivities at each rate of false positives, and the interval at 1 per image.

    Args:
        table: Of `jaxcxr.evaluation.froc.Froc`.
    """
    order = table["finding"].unique()
    wide = table.pivot_table("sensitivity", "finding", "fp_per_image").reindex(order)
    shown = wide.rename(columns="{:g}".format).rename_axis(columns=None)
    at_one = table.loc[table["fp_per_image"] == 1].set_index("finding")
    shown["95 % interval at 1"] = _intervals(at_one)
    shown.insert(0, "boxes", at_one["boxes"])
    return _lines(shown)


def maps_text(table: pd.DataFrame) -> str:
    """Returns mIoU and hit rate of heat maps with their intervals.

    Args:
        table: Of `jaxcxr.evaluation.masks.map_table`, with a column cut.
    """
    rows = table.set_index("finding")
    shown = {"cut": rows["cut"]}
    for name, short, count in (("mIoU", "miou", "images"), ("hit rate", "hit", "masks")):
        ends = {"ci_low": rows[f"{short}_low"], "ci_high": rows[f"{short}_high"]}
        shown[name] = rows["hit_rate" if short == "hit" else short]
        shown[f"95 % interval of {name}"] = _intervals(pd.DataFrame(ends))
        shown[count] = rows[count]
    return _lines(pd.DataFrame(shown))


def rules_text(table: pd.DataFrame) -> str:
    """Returns how well the boxes of each rule fit, on average over the findings.

    Args:
        table: `jaxcxr.evaluation.localization.overlap_table` of each rule, with columns rule
            and drawn_by.
    """
    means = table.loc[table["finding"] == "Mean"].set_index("rule")
    return _lines(means.drop(columns=["finding", "boxes", "drawn_by"]))


def _intervals(table: pd.DataFrame, sign: str = "") -> pd.Series:
    rows = zip(table["ci_low"], table["ci_high"], strict=True)
    texts = [
        np.nan if np.isnan(low) else f"[{low:{sign}.3f}, {high:{sign}.3f}]" for low, high in rows
    ]
    return pd.Series(texts, table.index)


def _p_text(p_value: float) -> str:
    return f"{p_value:.4f}" if p_value >= 1e-4 else "<0.0001"


def _lines(table: pd.DataFrame) -> str:
    return table.rename_axis(None).to_string(na_rep="–", float_format="{:.3f}".format)
