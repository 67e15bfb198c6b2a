"""Tables of predictions for new radiographs: one row per image and finding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from jaxcxr.evaluation.tables import IMAGE
from jaxcxr.inference.operating_points import OperatingPoints
from jaxcxr.inference.prediction import PredictionResult

_FINDING = "Finding Label"


def finding_table(
    prediction: PredictionResult, points: OperatingPoints, overlays: Mapping[str, str]
) -> pd.DataFrame:
    """Returns a radiograph's rows of findings.csv, one for each of the network's findings.

    Args:
        prediction: The network's prediction.
        points: The network's operating points and calibration.
        overlays: Path of the overlay of each finding shown.

    Returns:
        Image Index, Finding Label, probability, operating_point, reaches_operating_point (yes, no),
        calibrated_probability, overlay. Values that do not exist are missing.
    """
    probabilities = prediction.probabilities.astype(np.float64)
    reaches = [
        None if np.isnan(threshold) else "yes" if probability >= threshold else "no"
        for probability, threshold in zip(probabilities, points.thresholds, strict=True)
    ]
    return pd.DataFrame(
        {
            IMAGE: prediction.name,
            _FINDING: prediction.findings,
            "probability": probabilities,
            "operating_point": points.thresholds,
            "reaches_operating_point": reaches,
            "calibrated_probability": points.calibrate(probabilities),
            "overlay": [overlays.get(finding) for finding in prediction.findings],
        }
    )


def prediction_table(findings: pd.DataFrame) -> pd.DataFrame:
    """Returns the probabilities of findings.csv in the form of predictions.csv."""
    columns = {
        finding: findings.loc[findings[_FINDING] == finding, "probability"].to_numpy()
        for finding in findings[_FINDING].unique()
    }
    return pd.DataFrame({IMAGE: findings[IMAGE].unique(), **columns})


def summary_text(shown: pd.DataFrame, total: int) -> str:
    """Returns rows of findings.csv as lines for the terminal, and how many of `total` they omit."""
    columns = {
        IMAGE: "image",
        _FINDING: "finding",
        "probability": "probability",
        "operating_point": "operating point",
        "calibrated_probability": "calibrated",
    }
    table = shown.loc[:, list(columns)].rename(columns=columns)
    text = table.to_string(index=False, float_format="%.3f", na_rep="–")
    more = total - len(shown)
    return f"{text}\n… and {more} more in findings.csv" if more else text
