"""The files of a run that a report is made of."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation.localization import OVERLAP_LEVELS
from jaxcxr.evaluation.tables import BOX, IMAGE, PATIENT, read_table
from jaxcxr.files import reason_of
from jaxcxr.findings import FINDINGS
from jaxcxr.images.grid import Grid
from jaxcxr.images.square import Square, SquareRule
from jaxcxr.inference.scored_epochs import scored_epochs
from jaxcxr.training.history import History

_RESTORE = "restore it or train again"
_AUC_AGAIN = "run evaluate_auc again"
_BOXES_AGAIN = "run evaluate_boxes again"

_INTERVAL = ["ci_low", "ci_high"]
_ACCURACIES = ["threshold", "accuracy", "boxes", "afp"]
_FITS = ["boxes", "mean_iou", *(f"{metric} > {t:g}" for metric, t in OVERLAP_LEVELS), "area_ratio"]


@dataclasses.dataclass(frozen=True)
class Classification:
    """What evaluate_auc computed.

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
    """What evaluate_boxes computed.

    Attributes:
        scores: finding, metric, threshold, accuracy, boxes, afp, ci_low, ci_high.
        published: The same without the interval, by the arithmetic of the published tables.
        pointing: finding, accuracy, ci_low, ci_high, boxes of the pointing game.
        rules: localization_rules.csv: how well boxes fit by the rule in use, where it is not the
            paper's, then by the paper's.
        cuts: localization_cuts.csv: the same at every cut of the heat maps.
    """

    scores: pd.DataFrame
    published: pd.DataFrame
    pointing: pd.DataFrame
    rules: pd.DataFrame
    cuts: pd.DataFrame


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
        grid: (2,), first center and stride of the heat maps' cells in pixels of `images`.
        square: (), how the original images became square.
    """

    annotated: pd.DataFrame
    predicted: pd.DataFrame
    images: np.ndarray
    png_size: np.ndarray
    case_image: np.ndarray
    heatmaps: np.ndarray
    grid: np.ndarray
    square: np.ndarray

    def original(self, case: int) -> tuple[np.ndarray, tuple[Grid, Grid]]:
        """Returns a case's radiograph without padding, and its heat map's grid in the original.

        Returns:
            (H, W) uint8, and where columns and rows of the heat map lie in the original's pixels.
        """
        image = self.case_image[case]
        pixels, (width, height) = self.images[image], self.png_size[image]
        square = Square.fit(width, height, len(pixels), cast(SquareRule, str(self.square)))
        grid = Grid(*self.grid.tolist())
        return square.crop(pixels), square.in_original(grid, grid)


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """A run as its folder describes it; what is not there yet is None.

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
        """The epoch with the lowest loss, None where none is finished with a finite one."""
        return History(tuple(self.history.to_dict("records"))).best_epoch()

    @property
    def validation_auc(self) -> float | None:
        """Mean AUC on the validation split after the best epoch, None where it is not recorded."""
        if self.best_epoch is None or "val_auc" not in self.history:
            return None
        return float(self.history["val_auc"].iloc[self.best_epoch - 1])

    @property
    def outdated(self) -> str | None:
        """What is wrong when scores are of another epoch than the best, None when they are not."""
        others = {*filter(None, self.scored_epochs.values())} - {self.best_epoch}
        if not others:
            return None
        return (
            f"{self.name} was scored at epoch {', '.join(map(str, sorted(others)))} and its best "
            f"epoch is {self.best_epoch} now; run evaluate_auc and evaluate_boxes again"
        )


def read_runs(workdirs: Sequence[str | os.PathLike[str]]) -> list[RunFiles]:
    """Reads runs, each under the name of its folder, or its full path where names coincide.

    Raises:
        UserError: No run is given; one is given twice, is not a run, has no usable epoch or a
            damaged file.
    """
    if not workdirs:
        raise UserError(
            "no run is given; expected the folders of one or several runs", argument="workdirs"
        )
    names = {Path(workdir): Path(workdir).resolve().name for workdir in workdirs}
    if len({path.resolve() for path in names}) < len(workdirs):
        raise UserError("a run is named twice; name each run once", argument="workdirs")
    common = [name for name in names.values() if [*names.values()].count(name) > 1]
    return [_read_run(path, str(path) if name in common else name) for path, name in names.items()]


def _read_run(workdir: Path, name: str) -> RunFiles:
    if not (workdir / "config.json").is_file():
        raise UserError(
            f"{workdir} is not the folder of a run: it has no config.json; "
            "give the folder of a training"
        )
    evaluation = workdir / "evaluation"
    facts, history = workdir / "run.json", workdir / "history.csv"
    run = RunFiles(
        name=name,
        workdir=workdir,
        config=_read_json(workdir / "config.json"),
        facts=_read_json(facts) if facts.exists() else {},
        history=read_table(history, [], None, _RESTORE) if history.exists() else pd.DataFrame(),
        classification=_read_classification(evaluation),
        localization=_read_localization(evaluation),
        cases=_read_cases(evaluation),
        scored_epochs=scored_epochs(workdir / "evaluation"),
    )
    if len(run.history) and run.best_epoch is None:
        raise UserError(
            f"{workdir} has no usable epoch: its validation loss is not finite in any; train again "
            "with a lower learning rate"
        )
    return run


def _read_classification(folder: Path) -> Classification | None:
    if not (folder / "auc.csv").exists():
        return None
    numbers = ["auc", *_INTERVAL, "positives", "negatives"]
    auc = read_table(folder / "auc.csv", ["finding"], numbers, _AUC_AGAIN)
    labels = read_table(folder / "labels.csv", [IMAGE, PATIENT], FINDINGS, _AUC_AGAIN)
    predictions = read_table(folder / "predictions.csv", [IMAGE], FINDINGS, _AUC_AGAIN)
    if not labels[IMAGE].equals(predictions[IMAGE]):
        raise UserError(
            f"{folder}: labels.csv and predictions.csv are about other radiographs; {_AUC_AGAIN}"
        )
    return Classification(auc, labels, predictions)


def _read_localization(folder: Path) -> Localization | None:
    if not (folder / "localization.csv").exists():
        return None

    def read(name: str, texts: list[str], numbers: list[str]) -> pd.DataFrame:
        return read_table(folder / f"{name}.csv", texts, numbers, _BOXES_AGAIN)

    level = ["finding", "metric"]
    intervals = read("localization_intervals", level, ["threshold", *_INTERVAL])
    return Localization(
        scores=read("localization", level, _ACCURACIES).merge(intervals, how="left"),
        published=read("localization_published", level, _ACCURACIES),
        pointing=read("pointing_game", ["finding"], ["accuracy", *_INTERVAL]),
        rules=read("localization_rules", ["finding", "rule", "drawn_by"], _FITS),
        cuts=read("localization_cuts", ["finding", "scale", "cut"], _FITS),
    )


def _read_cases(folder: Path) -> Cases | None:
    path = folder / "cases.npz"
    if not path.exists():
        return None
    annotated, predicted = (
        read_table(folder / name, BOX[:2], BOX[2:], _BOXES_AGAIN).rename(
            columns={IMAGE: "image_name", "Finding Label": "finding"}
        )
        for name in ("annotated_boxes.csv", "boxes.csv")
    )
    names = ("images", "png_size", "case_image", "heatmaps", "grid", "square")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
            findings = stored["case_finding"]
    except Exception as error:  # NumPy and zipfile meet damage with exceptions of many classes
        raise UserError(f"{path} is damaged ({reason_of(error)}); {_BOXES_AGAIN}") from error
    if not np.array_equal(findings, annotated["finding"].to_numpy(str)):
        raise UserError(
            f"{folder}: cases.npz and annotated_boxes.csv are about other boxes; {_BOXES_AGAIN}"
        )
    return Cases(annotated, predicted, **arrays)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); {_RESTORE}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object; {_RESTORE}")
    return content
