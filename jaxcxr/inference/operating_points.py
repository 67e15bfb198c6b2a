"""What is known of a model's probabilities: where to cut, how to calibrate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcxr.errors import UserError
from jaxcxr.evaluation.calibration import at_prevalence, with_platt
from jaxcxr.evaluation.tables import read_table, require_findings
from jaxcxr.findings import FINDINGS, counterparts
from jaxcxr.models.weights.model_folder import table_path

_AGAIN = "run evaluate_auc again"


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingPoints:
    """Thresholds and calibration of F findings, chosen on validation; NaN where there are none.

    Calibration is Platt's: a loss that weighs findings up, like the paper's, makes probabilities
    too high, which temperature scaling cannot correct.

    Attributes:
        thresholds: (F,) probabilities from which a finding counts as present (Youden's).
        slopes: (F,) of `jaxcxr.evaluation.calibration.with_platt`.
        intercepts: (F,) likewise.
        prevalences: (F,) parts of the radiographs that calibration was fitted to which have the
            finding; NaN where not known.
    """

    thresholds: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray
    prevalences: np.ndarray | float = np.nan

    def calibrate(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities (F,) of raw ones; NaN where nothing calibrates them."""
        calibrated = list(map(with_platt, probabilities, self.slopes, self.intercepts))
        return np.where(np.isnan(self.slopes), np.nan, calibrated)

    def at_prevalences(
        self, wanted: Mapping[str, float], findings: Sequence[str]
    ) -> OperatingPoints:
        """Returns these, calibrated for a population in which findings are rarer or more frequent.

        Args:
            wanted: Part of one's own population that has a finding, for some of `findings`.
            findings: The F findings.

        Raises:
            UserError: A finding has no calibration, or the prevalence it was fitted at is not known
                or 0.
        """
        intercepts = self.intercepts.copy()
        known = np.broadcast_to(self.prevalences, intercepts.shape)
        for finding, prevalence in wanted.items():
            index = findings.index(finding)
            if np.isnan(self.slopes[index]) or not 0 < known[index] < 1:
                raise UserError(
                    f"{finding} has no calibration with a known prevalence; calibrate the model on "
                    "labeled radiographs first",
                    argument="prevalence",
                )
            intercepts[index] = at_prevalence(intercepts[index], known[index], prevalence)
        return dataclasses.replace(self, intercepts=intercepts)


def read_operating_points(
    folder: str | Path, findings: Sequence[str] = FINDINGS
) -> OperatingPoints:
    """Reads the thresholds and the calibration of a model folder or a run, where it has them.

    Args:
        folder: The folder of the model or the run.
        findings: The model's F findings. A table of the 14 findings serves for those that have a
            counterpart among them.

    Raises:
        UserError: A table is damaged.
    """
    points = _read_findings(folder, "operating_points.csv", ["threshold"], findings, "youden")
    columns = ["slope", "intercept", "positives", "radiographs"]
    slopes, intercepts, positives, count = _read_findings(
        folder, "calibration.csv", columns, findings
    )
    return OperatingPoints(points[0], slopes, intercepts, positives / count)


def _read_findings(
    folder: str | Path, name: str, columns: list[str], findings: Sequence[str], rule: str = ""
) -> np.ndarray:
    """Returns each column's (F,) values, of all radiographs and in the rows of a rule if given.

    A column that the table does not have is NaN.
    """
    path = table_path(folder, name)
    if not path.exists():
        return np.full((len(columns), len(findings)), np.nan)
    if rule:
        table = read_table(path, ["finding", "group", "rule"], columns, _AGAIN)
        table = table.loc[(table["group"] == "All") & (table["rule"] == rule)]
    else:
        table = read_table(path, ["finding"], None, _AGAIN)
    table = table.loc[table["finding"] != "Mean"]
    row_of = {findings[index]: finding for finding, index in counterparts(findings).items()}
    if is_own := {*table["finding"]} == {*findings}:
        row_of = {finding: finding for finding in findings}
    require_findings(path, table, _AGAIN, findings if is_own else FINDINGS)
    rows = [row_of.get(finding, "") for finding in findings]
    return table.set_index("finding").reindex(rows, columns=columns).to_numpy(np.float64).T
