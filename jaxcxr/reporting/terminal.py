"""The scores of runs as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from jaxcxr.reporting.runs import RunFiles

_LEVELS = (("IoU", 0.1), ("IoU", 0.3), ("IoBB", 0.25))


def scores_text(runs: Sequence[RunFiles]) -> str:
    """Returns one table per run: AUC per finding, and the share of annotated boxes found.

    What has not been evaluated yet shows as a dash.
    """
    return "\n\n".join(_run_text(run) for run in runs)


def _run_text(run: RunFiles) -> str:
    header = f"{run.name:<18} {'AUC':>6}" + "".join(f"{f'{m} > {t}':>13}" for m, t in _LEVELS)
    rows = [_row(run, finding) for finding in (*FINDINGS, "Mean")]
    return "\n".join([header, "-" * len(header), *rows])


def _row(run: RunFiles, finding: str) -> str:
    cells = f"{finding:<18} {_auc(run, finding):>6}"
    if finding in (*BOXED_FINDINGS, "Mean"):
        cells += "".join(f"{_accuracy(run, finding, *level):>13}" for level in _LEVELS)
    return cells


def _auc(run: RunFiles, finding: str) -> str:
    if run.classification is None:
        return "–"
    table = run.classification.auc
    return _number(table.loc[table["finding"] == finding, "auc"].tolist())


def _accuracy(run: RunFiles, finding: str, metric: str, threshold: float) -> str:
    if run.localization is None:
        return "–"
    table = run.localization.scores
    level = (table["metric"] == metric) & ((table["threshold"] - threshold).abs() < 1e-9)
    return _number(table.loc[level & (table["finding"] == finding), "accuracy"].tolist())


def _number(values: list[float]) -> str:
    return f"{values[0]:.3f}" if values and values[0] == values[0] else "–"
