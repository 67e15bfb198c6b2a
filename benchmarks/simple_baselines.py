"""What the demo's phantom gives without a network: logistic regression, and a box over the image.

python -m benchmarks.simple_baselines --data_dir demo/datasets

Prints the mean AUC over findings of a logistic regression on 32×32 pixels (trained on the training
split, its penalty chosen by the mean AUC on validation, scored on test), and the share of annotated
boxes that a box over the complete image finds, by metric and threshold, averaged over findings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import jaxcxr as cxr
from benchmarks.machine import describe
from jaxcxr.data import Data, Split
from jaxcxr.evaluation.localization import score_boxes
from jaxcxr.evaluation.outcome import localization_table

_DATA_DIR = flags.DEFINE_string("data_dir", None, "The prepared dataset.", required=True)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 96, "Its radiographs, pixels.")
_SIDE = flags.DEFINE_integer("side", 32, "Pixels that the regression sees; divides image_size.")
_PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""scikit-learn's C: the smaller, the stronger the penalty."""


def logistic_regression(data: Data) -> tuple[float, float]:
    """Returns the mean AUC on test, and the C that validation chose."""
    train, validation, test = (_pixels(split) for split in (data.train, data.validation, data.test))
    fitted = {strength: _fit(*train, strength) for strength in _PENALTIES}
    chosen = max(_PENALTIES, key=lambda strength: _mean_auc(fitted[strength], *validation))
    return _mean_auc(fitted[chosen], *test), chosen


def _pixels(split: Split) -> tuple[np.ndarray, np.ndarray]:
    size, side = _IMAGE_SIZE.value, _SIDE.value
    pixels, labels = [], []
    for batch in split.batches(256):
        real, cell = batch["mask"], size // side
        tiles = batch["image"][real].reshape(-1, side, cell, side, cell).mean((2, 4), np.float64)
        pixels.append(tiles.reshape(len(tiles), -1) / 255)
        labels.append(batch["labels"][real])
    return np.concatenate(pixels), np.concatenate(labels)


def _fit(pixels: np.ndarray, labels: np.ndarray, strength: float) -> list[LogisticRegression]:
    return [
        LogisticRegression(C=strength, max_iter=1000).fit(pixels, column) for column in labels.T
    ]


def _mean_auc(
    models: Sequence[LogisticRegression], pixels: np.ndarray, labels: np.ndarray
) -> float:
    scores = [model.predict_proba(pixels)[:, 1] for model in models]
    pairs = zip(labels.T, scores, strict=True)
    return float(np.mean([roc_auc_score(column, score) for column, score in pairs]))


def box_over_the_image(split: Split) -> dict[str, float]:
    """Returns the share of boxes found, averaged over findings, by metric and threshold."""
    annotated, sizes = split.boxes(), {}
    for batch in split.batches(256):
        names = batch["image_name"].astype(str)
        sizes |= dict(zip(names, batch["png_size"].tolist(), strict=True))
    over = annotated[["image_name", "finding"]].drop_duplicates().assign(x=0, y=0)
    over[["w", "h"]] = [sizes[name] for name in over["image_name"]]
    table = localization_table(score_boxes(annotated, over))
    means = table[table["finding"] == "Mean"]
    levels = means["metric"] + " > " + means["threshold"].astype(str)
    return dict(zip(levels, means["accuracy"].round(3), strict=True))


def main(_: list[str]) -> None:
    """Prints one JSON line."""
    data = cxr.data.load(_DATA_DIR.value, image_size=_IMAGE_SIZE.value)
    mean, chosen = logistic_regression(data)
    regression = {"mean_auc": round(mean, 3), "side": _SIDE.value, "C": chosen}
    line = {"logistic_regression": regression, "box": box_over_the_image(data.test)}
    print(json.dumps({**line, **describe()}))


if __name__ == "__main__":
    app.run(main)
