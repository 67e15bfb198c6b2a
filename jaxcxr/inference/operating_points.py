"""What is known of a model's probabilities: where to cut, how to calibrate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcxr.errors import UserError
from jaxcxr.evaluation.calibration import at_prevalence, with_platt
from jaxcxr.evaluation.tables import COUNT, Columns, Numbers, read_table, require_rows
from jaxcxr.findings import FINDINGS, counterparts
from jaxcxr.models.weights.model_folder import table_path

_AGAIN = "run evaluate_auc again"
_HIGHEST = float(np.nextafter(np.float32(1), np.float32(2)))
"""The threshold of a fixed specificity is the next float32 above a probability, which may be 1."""

_POINTS = {
    "threshold": Numbers(
        "a number from 0 to 1, inf or nothing", 0, _HIGHEST, empty=True, infinite=True
    )
}
_LINES = {
    "slope": Numbers("a number from 1/20 to 20 or nothing", 0.05, 20, empty=True),
    "intercept": Numbers("a number or nothing", -1e6, 1e6, empty=True),
}
_COUNTS = dict.fromkeys(("positives", "radiographs"), COUNT._replace(empty=True))


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
    points = _read_findings(folder, "operating_points.csv", _POINTS, findings, rule="youden")
    lines = _read_findings(folder, "calibration.csv", _LINES | _COUNTS, findings)
    with np.errstate(invalid="ignore"):
        prevalences = lines["positives"] / lines["radiographs"]
    return OperatingPoints(points["threshold"], lines["slope"], lines["intercept"], prevalences)


def _read_findings(
    folder: str | Path, name: str, columns: Columns, findings: Sequence[str], rule: str = ""
) -> dict[str, np.ndarray]:
    """Returns each column's (F,) values: of all radiographs, in the rows of a rule."""
    path = table_path(folder, name)
    if not path.exists():
        return {name: np.full(len(findings), np.nan) for name in columns}
    texts = dict.fromkeys(["group", "rule"]) if rule else {}
    table = read_table(path, {"finding": None, **texts, **columns}, _AGAIN, optional=_COUNTS)
    if rule:
        table = table[(table["group"] == "All") & (table["rule"] == rule)]
    table = table.loc[table["finding"] != "Mean"].reindex(columns=["finding", *columns])
    own = set(table["finding"]) == set(findings)
    rows = list(findings if own else FINDINGS)
    require_rows(path, table, ["finding"], [(finding,) for finding in rows], _AGAIN)
    row_of = (
        {finding: finding for finding in findings}
        if own
        else {findings[index]: finding for finding, index in counterparts(findings).items()}
    )
    in_order = table.set_index("finding").reindex([row_of.get(name, "") for name in findings])
    return {name: in_order[name].to_numpy(np.float64) for name in columns}
