"""What a run's evaluation found out about its probabilities: where to cut, how to calibrate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxcxr.evaluation.calibration import with_platt
from jaxcxr.evaluation.tables import read_table, require_findings
from jaxcxr.findings import FINDINGS

_AGAIN = "run evaluate_auc again"


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingPoints:
    """Thresholds and calibration, chosen on validation; NaN where a run has none.

    Calibration is Platt's: a loss that weighs findings up, like the paper's, makes probabilities
    too high, which temperature scaling cannot correct.

    Attributes:
        thresholds: (14,) probabilities from which a finding counts as present (Youden's).
        slopes: (14,) of `jaxcxr.evaluation.calibration.with_platt`.
        intercepts: (14,) likewise.
    """

    thresholds: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray

    def calibrate(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities (14,) of raw ones; NaN where nothing calibrates them."""
        calibrated = list(map(with_platt, probabilities, self.slopes, self.intercepts))
        return np.where(np.isnan(self.slopes), np.nan, calibrated)


def read_operating_points(workdir: str | Path) -> OperatingPoints:
    """Reads what evaluate_auc wrote for a run; a run that was not scored has none.

    Raises:
        UserError: A file of the evaluation is damaged.
    """
    evaluation = Path(workdir) / "evaluation"
    points = evaluation / "operating_points.csv"
    (thresholds,) = _read_findings(points, ["threshold"], group="All", rule="youden")
    slopes, intercepts = _read_findings(evaluation / "calibration.csv", ["slope", "intercept"])
    return OperatingPoints(thresholds, slopes, intercepts)


def _read_findings(path: Path, columns: list[str], **wanted: str) -> np.ndarray:
    """Returns each column's (14,) values, in the rows of findings where others are as wanted."""
    if not path.exists():
        return np.full((len(columns), len(FINDINGS)), np.nan)
    table = read_table(path, ["finding", *wanted], columns, _AGAIN)
    for name, value in wanted.items():
        table = table.loc[table[name] == value]
    of_findings = table.loc[table["finding"] != "Mean"]
    require_findings(path, of_findings, _AGAIN)
    return of_findings[columns].to_numpy().T
