"""Calibrates a model on labeled radiographs of your own: probabilities and operating points.

    jaxcxr export --model runs/baseline --out models/ours
    jaxcxr calibrate --model models/ours --labels labels.csv scans/

labels.csv has the columns Image Index (names of the files), 0 or 1 for some of the model's
findings, and Patient ID where it is known. Platt scaling and operating points are fitted to a
random half of the patients; the other half shows how well they do, with 95 % intervals. A finding
without radiographs with it and without it in the first half gets none.

Writes operating_points.csv, calibration.csv, config.json and README.md in the model folder, by
which jaxcxr predict shows them, and own_labels.csv, the report. The folder must be your own: a run
or a downloaded model is exported to one first.
"""

from __future__ import annotations

# isort: split
import contextlib
import dataclasses
import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from absl import flags
from tqdm import tqdm

from jaxcxr.cli import models
from jaxcxr.cli.cpu_devices import use_device_per_core
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.errors import UserError
from jaxcxr.evaluation import own_labels, tables
from jaxcxr.files import atomic_write
from jaxcxr.images.search import find_radiographs

if TYPE_CHECKING:
    from jaxcxr.inference.predictor import Predictor

models.define_model_flags()
_LABELS = flags.DEFINE_string("labels", None, "CSV file of labels.", required=True)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Radiographs at a time.", lower_bound=1)
_BOOTSTRAPS = flags.DEFINE_integer("bootstraps", 1000, "Draws per interval.", 2, 1_000_000)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the halves and the draws.", lower_bound=0)
define_import_flag()

POSITIONAL = "files"
"""What the words that are not flags mean."""

_FEW = 20
"""Radiographs with a finding below which its calibration is said to be unreliable."""

_EXPORT = "write it to a folder of your own with jaxcxr export, and calibrate that"


def main(arguments: list[str]) -> None:
    """Calibrates the model folder that the flags name."""
    from jaxcxr.export.hub import edited_card
    from jaxcxr.inference.predictor import load_model
    from jaxcxr.models.weights.model_folder import is_model_folder

    use_device_per_core()
    folder = models.own_folder(_EXPORT)
    if not is_model_folder(folder):
        raise UserError(f"{folder} is not a model folder: {_EXPORT}")
    predictor = load_model(folder)
    labels, others = tables.read_labels(_LABELS.value, predictor.named_findings)
    if others:
        print(f"note: {_LABELS.value}: columns that are not used: {', '.join(others)}")
    paths = find_radiographs(arguments)
    labels, predictions = labeled_predictions(predictor, labels, paths)
    result = own_labels.calibrate(
        labels, predictions, bootstraps=_BOOTSTRAPS.value, seed=_SEED.value
    )
    by_patient = labels[tables.PATIENT].nunique()
    today = datetime.date.today().isoformat()
    said = (
        f"{Path(_LABELS.value).name}, {len(labels)} radiographs of {by_patient} patients "
        f"(half of the patients to fit, half to report), {today}"
    )
    edited = edited_card(folder) is not None
    write(folder, dataclasses.replace(predictor, calibration=said), result, edited)
    print(report_text(result))
    print(f"calibrated on {said}; written to {folder}")
    if edited:
        print(f"note: {folder / 'README.md'} was edited by hand and is kept: bring it up to date")


def labeled_predictions(
    predictor: Predictor, labels: pd.DataFrame, paths: list[Path]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predicts the labeled radiographs; returns labels and predictions in the same rows.

    A finding that the file of labels does not have is 0 in the labels and not in the predictions.
    """
    from jaxcxr.inference.prediction import predict_files

    def refuse(path: str, reason: str) -> None:
        tqdm.write(f"skipped: {path}: {reason}", file=sys.stderr)

    names = predictor.named_findings
    found = {
        result.name: result.probabilities
        for result in predict_files(
            predictor,
            predictor.image_size,
            predictor.square,
            paths,
            batch_size=_BATCH_SIZE.value,
            refuse=refuse,
        )
    }
    known = labels.loc[labels[tables.IMAGE].isin(list(found))].reset_index(drop=True)
    print(
        f"{len(known)} labeled radiographs; {len(found) - len(known)} files without labels and "
        f"{len(labels) - len(known)} labels without a file are left out"
    )
    if known[tables.PATIENT].nunique() < 2:
        raise UserError(
            "expected labeled radiographs of two patients or more; Image Index has the names of "
            "the files",
            argument="labels",
        )
    rows = np.stack([found[name] for name in known[tables.IMAGE]])
    predictions = pd.DataFrame(rows, columns=list(names))
    labeled = [name for name in names if name in known]
    complete = known.reindex(columns=[tables.IMAGE, tables.PATIENT, *names], fill_value=0)
    return complete, predictions.loc[:, labeled]


def write(
    folder: Path, predictor: Predictor, result: own_labels.OwnCalibration, card_is_edited: bool
) -> None:
    """Writes the calibration to a model folder: all files, or none where one cannot be written."""
    from jaxcxr.models.weights.model_card import model_card

    written = {
        "own_labels.csv": result.report,
        "operating_points.csv": result.operating_points,
        "calibration.csv": result.calibration,
    }
    with contextlib.ExitStack() as files:  # renames all when all are written
        for name, table in written.items():
            tables.append(table, files.enter_context(atomic_write(folder / name)))
        config = files.enter_context(atomic_write(folder / "config.json"))
        config.write_text(json.dumps(predictor.config(), indent=2) + "\n", encoding="utf-8")
        if not card_is_edited:
            card = files.enter_context(atomic_write(folder / "README.md"))
            scores = folder / "auc.csv"
            known = scores.read_text("utf-8") if scores.exists() else None
            card.write_text(model_card(predictor.config(), known), encoding="utf-8")


def report_text(result: own_labels.OwnCalibration) -> str:
    """Returns the report as lines for the terminal, and which findings had few positives."""
    fitted = result.calibration.iloc[:-1].set_index("finding")
    report = result.report.set_index("finding")
    shown = pd.DataFrame({"fitted to": fitted["positives"].astype(int).astype(str) + " positives"})
    shown["reported on"] = report["positives"].astype(str) + " positives"
    for name in ("auc", "sensitivity", "specificity"):
        shown[name] = [
            f"{value:.3f} ({low:.3f} to {high:.3f})" if value == value else "–"
            for value, low, high in report[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        ]
    shown["Brier score"] = [
        f"{before:.3f} → {after:.3f}" if after == after else "–"
        for before, after in fitted[["brier", "brier_platt"]].to_numpy()
    ]
    has_any = (fitted["positives"] > 0) | (report["positives"] > 0)
    lines = [shown.loc[has_any].rename_axis(None).to_string()]
    if none := [*fitted.index[fitted["slope"].isna()]]:
        lines.append(f"no calibration, one class only or no labels: {', '.join(none)}")
    if few := [*fitted.index[fitted["slope"].notna() & (fitted["positives"] < _FEW)]]:
        lines.append(f"note: unreliable, fewer than {_FEW} positives to fit: {', '.join(few)}")
    return "\n".join(lines)
