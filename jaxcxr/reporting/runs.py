"""The files of a run that a report is made of."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation.tables import IMAGE
from jaxcxr.inference.scored_epochs import scored_epochs
from jaxcxr.training.history import History

_HOME = re.compile(
    rf"(?<![\w.~/-])(?:{re.escape(str(Path.home()))}|/home/[^/\s,;:)]+|/Users/[^/\s,;:)]+|/root)(?![^/\s,;:)])"
)

_AGAIN = "run the program that writes it again"
_BOX = {IMAGE: "image_name", "Finding Label": "finding"}
_BOX_COLUMNS = [*_BOX, "x", "y", "w", "h"]


@dataclasses.dataclass(frozen=True)
class Classification:
    """What launch/evaluate_auc.py found.

    Attributes:
        auc: finding, auc, ci_low, ci_high, positives, negatives; the last finding is "Mean".
        labels: Image Index and a column of zeros and ones per finding.
        predictions: Image Index and a column of probabilities per finding; the same rows.
    """

    auc: pd.DataFrame
    labels: pd.DataFrame
    predictions: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class Localization:
    """What launch/evaluate_boxes.py found.

    Attributes:
        scores: finding, metric, threshold, accuracy, boxes, afp, ci_low, ci_high.
        published: The same without the interval, by the arithmetic of the published tables.
        pointing: finding, accuracy, ci_low, ci_high, boxes of the pointing game.
    """

    scores: pd.DataFrame
    published: pd.DataFrame
    pointing: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class Cases:
    """The annotated boxes of the test radiographs, to draw.

    Attributes:
        annotated: One row per case: image_name, finding, x, y, w, h (pixels of the original).
        predicted: The predicted boxes, the same columns.
        images: (N, S, S) uint8 radiographs.
        png_size: (N, 2), width and height of the original images in pixels.
        case_image: (M,) row of each case's radiograph in `images`.
        heatmaps: (M, h, w), the heat map of each case's finding.
    """

    annotated: pd.DataFrame
    predicted: pd.DataFrame
    images: np.ndarray
    png_size: np.ndarray
    case_image: np.ndarray
    heatmaps: np.ndarray


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """A run as its folder tells it; what it has not been through yet is None.

    Attributes:
        name: What the report calls it.
        workdir: Its folder.
        config: config.json.
        facts: run.json, empty where there is none.
        history: history.csv, one row per epoch; without rows where there is none.
        classification: Of evaluation/.
        localization: Of evaluation/.
        cases: Of evaluation/.
        scored_epochs: Of evaluation/: the epoch of each kind of scores ("auc", "boxes").
    """

    name: str
    workdir: Path
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    history: pd.DataFrame
    classification: Classification | None
    localization: Localization | None
    cases: Cases | None
    scored_epochs: Mapping[str, int | None] = dataclasses.field(default_factory=dict)

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the lowest loss, None where none is finished."""
        if self.history.empty:
            return None
        return History(tuple(self.history.to_dict("records"))).best_epoch()

    @property
    def outdated(self) -> str | None:
        """What is wrong when scores are of another epoch than the best, None when they are not."""
        others = {epoch for epoch in self.scored_epochs.values() if epoch != self.best_epoch}
        if not others or self.best_epoch is None:
            return None
        return (
            f"{self.name} was scored at epoch {', '.join(map(str, sorted(filter(None, others))))} "
            f"and its best epoch is {self.best_epoch} now; run launch/evaluate_auc.py and "
            "launch/evaluate_boxes.py again"
        )


def without_home(text: str) -> str:
    """Returns a text with ~ in place of people's home folders: a page goes to others."""
    return _HOME.sub("~", text)


def read_runs(workdirs: Sequence[str | os.PathLike[str]]) -> list[RunFiles]:
    """Reads runs, each under the name of its folder, or its whole path where names coincide.

    Raises:
        UserError: There is none, one is named twice, is no folder of a run or has a damaged file.
    """
    paths = [Path(workdir) for workdir in workdirs]
    if not paths:
        raise UserError("no run is named; give --workdirs the folders of one or several runs")
    folders = [path.resolve() for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        if folders.count(folder) > 1:
            raise UserError(f"{path} is named twice; name each run once")
    names = [folder.name for folder in folders]
    return [
        _read_run(path, folder.name if names.count(folder.name) == 1 else without_home(str(path)))
        for path, folder in zip(paths, folders, strict=True)
    ]


def _read_run(workdir: Path, name: str) -> RunFiles:
    if not (workdir / "config.json").is_file():
        raise UserError(
            f"{workdir} is not the folder of a run: it has no config.json; "
            "name the --workdir of launch/train.py"
        )
    evaluation = workdir / "evaluation"
    facts, history = workdir / "run.json", workdir / "history.csv"
    return RunFiles(
        name=name,
        workdir=workdir,
        config=_read_json(workdir / "config.json"),
        facts=_read_json(facts) if facts.exists() else {},
        history=_read_table(history, ["epoch", "loss"]) if history.exists() else pd.DataFrame(),
        classification=_read_classification(evaluation),
        localization=_read_localization(evaluation),
        cases=_read_cases(evaluation),
        scored_epochs=scored_epochs(workdir),
    )


def _read_classification(folder: Path) -> Classification | None:
    if not (folder / "auc.csv").exists():
        return None
    labels = _read_table(folder / "labels.csv", [IMAGE])
    predictions = _read_table(folder / "predictions.csv", [IMAGE])
    if not labels[IMAGE].equals(predictions[IMAGE]):
        raise UserError(
            f"{folder}: labels.csv and predictions.csv are about other radiographs; "
            "run launch/evaluate_auc.py again"
        )
    auc = _read_scores(folder / "auc.csv", ["auc", "ci_low", "ci_high", "positives"])
    return Classification(auc, labels, predictions)


def _read_localization(folder: Path) -> Localization | None:
    if not (folder / "localization.csv").exists():
        return None
    level, ends = ["metric", "threshold"], ["ci_low", "ci_high"]
    measured = [*level, "accuracy", "boxes", "afp"]
    scores = _read_scores(folder / "localization.csv", measured)
    sureness = _read_scores(folder / "localization_intervals.csv", [*level, *ends])
    return Localization(
        scores=scores.merge(sureness, on=["finding", *level], how="left"),
        published=_read_scores(folder / "localization_published.csv", measured),
        pointing=_read_scores(folder / "pointing_game.csv", ["accuracy", *ends]),
    )


def _read_cases(folder: Path) -> Cases | None:
    path = folder / "cases.npz"
    if not path.exists():
        return None
    annotated = _read_table(folder / "annotated_boxes.csv", _BOX_COLUMNS).rename(columns=_BOX)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            kept = {name: arrays[name] for name in ("images", "png_size", "case_image", "heatmaps")}
            fits = np.array_equal(arrays["case_finding"], annotated["finding"].to_numpy(str))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is damaged ({error}); run launch/evaluate_boxes.py again"
        ) from error
    if not fits:
        raise UserError(
            f"{folder}: cases.npz and annotated_boxes.csv are about other boxes; "
            "run launch/evaluate_boxes.py again"
        )
    predicted = _read_table(folder / "boxes.csv", _BOX_COLUMNS).rename(columns=_BOX)
    return Cases(annotated=annotated, predicted=predicted, **kept)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it or train again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object; restore it or train again")
    return content


def _read_scores(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Reads a table with a row per finding, or several, and one for their mean."""
    table = _read_table(path, ["finding", *columns])
    if "Mean" not in set(table["finding"]):
        raise UserError(f"{path} has no row Mean; {_AGAIN}")
    return table


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={IMAGE: str})
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {_AGAIN}") from error
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path} has no column {', '.join(missing)}; {_AGAIN}")
    return table
