"""One self-contained page about one or several runs: tables, figures and drawn cases."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from jaxcxr.evaluation import calibration, finding_scores
from jaxcxr.evaluation.outcome import THRESHOLDS, Level, at_level
from jaxcxr.evaluation.tables import IMAGE, PATIENT
from jaxcxr.files import write_text
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from jaxcxr.reporting import figures
from jaxcxr.reporting.figures import figure_uri, photograph_uri
from jaxcxr.reporting.gallery import VIEWER_PORT, galleries
from jaxcxr.reporting.runs import RunFiles
from jaxcxr.reporting.score_tables import MEAN, auc_table, localization_table
from jaxcxr.reporting.settings import all_settings, main_settings

PAPERS_LEVELS: tuple[Level, ...] = (("IoU", 0.3), ("IoBB", 0.25))
"""The thresholds of the paper's Tables 2 and 3."""

_MISSING = "–"

_HOME = re.compile(rf"(?<![\w.~/-]){re.escape(str(Path.home()))}(?![\w.-])")


def write_report(runs: Sequence[RunFiles], out: str | os.PathLike[str]) -> int:
    """Writes the report of runs to `out`, in one piece.

    Returns:
        Its size in bytes.

    Raises:
        UserError: `out` cannot be written.
    """
    page = report_page(runs)
    write_text(out, page)
    return len(page.encode("utf-8"))


def report_page(runs: Sequence[RunFiles]) -> str:
    """Returns the HTML of a report. It asks for nothing outside itself."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxcxr.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        score=score_text, count=count_text, finding=finding_text, interval=interval_text
    )
    return environment.get_template("report.html").render(
        runs=[
            {"name": run.name, "workdir": run.workdir, "color": figures.run_color(index)}
            for index, run in enumerate(runs)
        ],
        findings=FINDINGS,
        mean=MEAN,
        synthetic=[run.name for run in runs if run.facts.get("data", {}).get("synthetic")],
        not_comparable=[
            run.name for run in runs if not run.facts.get("data", {}).get("nih_test_list", True)
        ],
        outdated=[run.outdated for run in runs if run.outdated],
        overview=[_overview(run) for run in runs],
        main_settings=main_settings(runs),
        all_settings=all_settings(runs),
        **_training(runs),
        **_classification(runs),
        **_localization(runs),
        **_galleries(runs),
    )


def _shown(value: Any) -> Any:
    """Writes ~ for the home folder, as the page goes to others; pieces of HTML stay as they are."""
    return _HOME.sub("~", str(value)) if type(value) is str or isinstance(value, Path) else value


def _overview(run: RunFiles) -> dict[str, Any]:
    """Returns a run's few numbers that say how good it is."""
    numbers: dict[str, Any] = dict.fromkeys(("auc", "pointing", "test_images", "test_patients"))
    numbers["accuracies"] = [None] * len(PAPERS_LEVELS)
    if (scored := run.classification) is not None:
        numbers["auc"] = _mean(scored.auc, "auc")
        numbers["test_images"] = len(scored.labels)
        numbers["test_patients"] = scored.labels[PATIENT].nunique()
    if run.localization is not None:
        at = [at_level(run.localization.scores, level) for level in PAPERS_LEVELS]
        numbers["accuracies"] = [_mean(scores, "accuracy") for scores in at]
        numbers["pointing"] = _mean(run.localization.pointing, "accuracy")
    return numbers


def _mean(table: pd.DataFrame, score: str) -> tuple[float, ...]:
    """Returns the mean of a score over the findings and the ends of its interval."""
    return tuple(table.set_index("finding").loc[MEAN, [score, "ci_low", "ci_high"]])


def _training(runs: Sequence[RunFiles]) -> dict[str, Any]:
    trained = [run for run in runs if len(run.history)]
    curves = figures.learning_curves({run.name: run.history for run in runs})
    return {
        "learning_curves": figure_uri(curves) if trained else None,
        "best_epochs": {run.name: run.best_epoch for run in trained if run.best_epoch},
        "validation_aucs": {run.name: run.validation_auc for run in runs},
    }


def _classification(runs: Sequence[RunFiles]) -> dict[str, Any]:
    scored = [run.classification for run in runs if run.classification is not None]
    return {
        "not_classified": [run for run in runs if run.classification is None],
        "auc_table": auc_table(runs) if scored else None,
        "roc_panels": _roc_panels(runs),
        "different_images": len({frozenset(some.labels[IMAGE]) for some in scored}) > 1,
        "reliability": _reliability(runs) if scored else None,
    }


def _roc_panels(runs: Sequence[RunFiles]) -> dict[str, str]:
    """Returns the ROC curves of every finding that has some."""
    curves = [
        finding_scores.roc_curves(run.classification.labels, run.classification.predictions)
        if run.classification is not None
        else {}
        for run in runs
    ]
    no_curve = (np.empty(0), np.empty(0))
    return {
        finding: figure_uri(figures.roc_panel([some.get(finding, no_curve) for some in curves]))
        for finding in FINDINGS
        if any(finding in some for some in curves)
    }


def _reliability(runs: Sequence[RunFiles]) -> dict[str, Any]:
    """Returns the diagram of all findings together, and the mean errors of each run."""
    points = {run.name: calibration.Reliability(*[np.empty(0)] * 3) for run in runs}
    errors = []
    for run in runs:
        if run.classification is None:
            errors.append(None)
            continue
        labels, predictions = run.classification.labels, run.classification.predictions
        truth, reported = (table[list(FINDINGS)].to_numpy() for table in (labels, predictions))
        points[run.name] = calibration.reliability(truth.ravel(), reported.ravel())
        errors.append(
            [
                np.mean(finding_scores.per_finding(error, labels, predictions))
                for error in (calibration.expected_calibration_error, calibration.brier_score)
            ]
        )
    return {"diagram": figure_uri(figures.reliability_diagram(points)), "errors": errors}


def _localization(runs: Sequence[RunFiles]) -> dict[str, Any]:
    if all(run.localization is None for run in runs):
        tables = {}
    else:
        tables = {
            metric: {t: localization_table(runs, (metric, t)) for t in thresholds}
            for metric, thresholds in THRESHOLDS.items()
        }
    return {
        "not_localized": [run for run in runs if run.localization is None],
        "main_levels": {level: tables[level[0]][level[1]] for level in PAPERS_LEVELS if tables},
        "papers_levels": PAPERS_LEVELS,
        "levels_by_metric": tables,
        **_rules(runs),
    }


def _rules(runs: Sequence[RunFiles]) -> dict[str, Any]:
    """Returns per run how well boxes fit, the rule in use first, and at which cuts they do."""
    scored = {run.name: run.localization for run in runs}
    fits = {name: some.rules.to_dict("records") if some else [] for name, some in scored.items()}
    cuts = {name: some.cuts if some else pd.DataFrame() for name, some in scored.items()}
    curves = figure_uri(figures.cut_curves(cuts)) if any(fits.values()) else None
    return {"fits": fits, "cut_curves": curves}


def _galleries(runs: Sequence[RunFiles]) -> dict[str, Any]:
    cases = {run.name: run.cases for run in runs if run.cases is not None}
    drawn = galleries(cases, BOXED_FINDINGS) if cases else []
    shown = {gallery.finding for gallery in drawn}
    return {
        "without_cases": [run for run in runs if run.cases is None],
        "galleries": drawn,
        "without_gallery": [finding for finding in BOXED_FINDINGS if finding not in shown],
        "photograph": photograph_uri,
        "viewer_port": VIEWER_PORT,
    }


def score_text(score: float | None) -> str:
    """Returns a score with three decimals, a dash where there is none."""
    return _MISSING if score is None or math.isnan(score) else f"{score:.3f}"


def interval_text(ends: Sequence[float] | None) -> str:
    """Returns the ends of an interval, nothing where they are not known."""
    if ends is None or any(math.isnan(end) for end in ends):
        return ""
    return f"{ends[0]:.3f}–{ends[1]:.3f}"


def count_text(count: float | None) -> str:
    """Returns a whole number with a comma between thousands."""
    return _MISSING if count is None or pd.isna(count) else f"{int(count):,}"


def finding_text(finding: str) -> str:
    """Returns a finding as people write it."""
    return finding.replace("_", " ").capitalize() if "_" in finding else finding
