"""What a run's evaluation found out about its probabilities: where to cut, how to calibrate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxcxr.evaluation.calibration import with_platt
from jaxcxr.evaluation.tables import Columns, Numbers, read_table, require_rows
from jaxcxr.findings import FINDINGS

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
    points = _read_findings(
        evaluation / "operating_points.csv", _POINTS, group="All", rule="youden"
    )
    lines = _read_findings(evaluation / "calibration.csv", _LINES)
    return OperatingPoints(points["threshold"], lines["slope"], lines["intercept"])


def _read_findings(path: Path, columns: Columns, **wanted: str) -> dict[str, np.ndarray]:
    """Returns each column's (14,) values, in the rows of findings where others are as wanted."""
    if not path.exists():
        return {name: np.full(len(FINDINGS), np.nan) for name in columns}
    table = read_table(path, {"finding": None, **dict.fromkeys(wanted), **columns}, _AGAIN)
    for name, value in wanted.items():
        table = table.loc[table[name] == value]
    of_findings = table.loc[table["finding"] != "Mean", ["finding", *columns]]
    require_rows(path, of_findings, ["finding"], [(finding,) for finding in FINDINGS], _AGAIN)
    in_order = of_findings.set_index("finding").loc[list(FINDINGS)]
    return {name: in_order[name].to_numpy() for name in columns}
