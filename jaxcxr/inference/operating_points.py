"""What a run's evaluation found out about its probabilities: where to cut, how to calibrate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation.calibration import with_platt
from jaxcxr.findings import FINDINGS


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingPoints:
    """Thresholds and calibration, chosen on validation; NaN where a run has none.

    Calibration is Platt's: a loss that weighs findings up, like the paper's, makes probabilities
    too high, which temperature scaling cannot mend.

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
    """Reads what launch/evaluate_auc.py wrote for a run; a run that it did not score has none.

    Raises:
        UserError: A file of the evaluation is damaged.
    """
    evaluation = Path(workdir) / "evaluation"
    return OperatingPoints(
        _read_column(evaluation / "operating_points.csv", "threshold", group="All", rule="youden"),
        _read_column(evaluation / "calibration.csv", "slope"),
        _read_column(evaluation / "calibration.csv", "intercept"),
    )


def _read_column(path: Path, column: str, **wanted: str) -> np.ndarray:
    """Returns a column's (14,) values in the rows of each finding where others are as wanted."""
    if not path.exists():
        return np.full(len(FINDINGS), np.nan)
    try:
        table = pd.read_csv(path)
        for name, value in wanted.items():
            table = table.loc[table[name] == value]
        return table.set_index("finding")[column].reindex(FINDINGS).to_numpy(np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error}); launch/evaluate_auc.py writes it anew"
        ) from error
