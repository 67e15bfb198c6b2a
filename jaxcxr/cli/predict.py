"""Predicts new radiographs: the probability of each finding, and where it is seen.

jaxcxr predict --model runs/baseline --out predictions a.png scans/

--model names a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, or a name
of the catalog. Takes PNG, JPEG, TIFF, BMP and DICOM files (pip install 'jaxcxr[dicom]'), and
folders. Writes under --out:

    predictions.csv  Image Index and the probability of each finding, for jaxcxr evaluate_auc
    findings.csv     per image and finding: probability, operating point, whether the probability
                     reaches it, calibrated probability and the overlay (empty where there is none)
    boxes.csv        boxes of the findings shown, pixels of the original, for jaxcxr evaluate_boxes
    overlays/        heat map and boxes over the radiograph, one PNG per image and finding shown
    skipped.csv      the files that cannot be used, and why
    about.json       the model, its network and epoch, where calibration comes from, notes on the
                     files (lateral view, window left out, …), and whether it was trained on
                     synthetic radiographs

Operating points and calibration are those that jaxcxr evaluate_auc or jaxcxr calibrate found for
the model; without them these columns are empty. A calibrated probability holds where the finding is
as frequent as in the radiographs it was fitted to; --prevalence=Effusion=0.02,Hernia=0.001 adjusts
it to your own population. Shown are the findings that reach their operating point, or else the most
probable one, or those of --findings. Boxes follow the model's box_rule.csv (jaxcxr tune_boxes) or
else the paper's rule, unless --threshold or --scale is given. Files of one name in several
folders are named with their folders.

A file that cannot be read gets a line on standard error and does not stop the others; the exit
status is 0 if any was read, 1 if none was.
"""

# isort: split
import dataclasses
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import flags
from PIL import Image
from tqdm import tqdm

from jaxcxr.cli import box_flags, models
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.files import atomic_write, remove_file, write_text
from jaxcxr.findings import match_finding
from jaxcxr.images.search import find_radiographs, lies_in
from jaxcxr.inference.finding_table import finding_table, prediction_table, summary_text
from jaxcxr.inference.prediction import PredictionResult, predict_files
from jaxcxr.inference.predictor import Predictor, load_model
from jaxcxr.models import classifier_config
from jaxcxr.models.weights.model_card import RESEARCH_ONLY, SYNTHETIC
from jaxcxr.reporting.figures import overlay

models.define_model_flags()
_OUT = flags.DEFINE_string("out", None, "Where to write.", required=True)
_FINDINGS = flags.DEFINE_list("findings", [], "Findings to show of every image, or all.")
_PREVALENCE = flags.DEFINE_list(
    "prevalence", [], "Part of your patients that have a finding: Effusion=0.02,Hernia=0.001."
)
_SAVE_HEATMAPS = flags.DEFINE_bool("save_heatmaps", False, "Write heatmaps/NAME.npz, too.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Radiographs at a time.", lower_bound=1)
flags.adopt_module_key_flags(box_flags)
define_import_flag()

_TABLES = ("predictions.csv", "findings.csv", "boxes.csv", "skipped.csv")
"""The last is written first, and removed last."""

_LONGEST_NAME = 160
"""Bytes of a radiograph's name in the name of its overlay; file systems take 255 in all."""

_OVERLAY_SIDE = 1024
"""Longer side of an overlay in pixels, at most: detectors have up to 5,000."""

POSITIONAL = "files"
"""What the words that are not flags mean."""


def main(arguments: list[str]) -> None:
    """Predicts the files that the arguments name."""
    out = Path(_OUT.value)
    paths = find_radiographs(arguments, but_not_in=out)
    require_own_tables(out)
    logging.getLogger("pydicom").setLevel(logging.ERROR)  # its remarks on files that it reads
    predictor = load_model(models.model_named())
    names = predictor.named_findings
    chosen = (
        list(names)
        if _FINDINGS.value == ["all"]
        else [match(name, names, "findings") for name in _FINDINGS.value]
    )
    points = predictor.operating_points.at_prevalences(prevalences(names), names)
    maps, (rule, *_) = box_flags.maps_and_rule(predictor)
    predict = maps.predict_fn(predictor)
    skipped: dict[str, str] = {}
    notes: dict[str, list[str]] = {}

    def refuse(path: str, reason: str) -> None:
        tqdm.write(f"skipped: {path}: {reason}", file=sys.stderr)
        skipped[path] = reason

    remove_earlier(out)
    parts: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    try:
        for prediction in predict_files(
            predict,
            predictor.image_size,
            predictor.square,
            paths,
            batch_size=_BATCH_SIZE.value,
            refuse=refuse,
            findings=names,
            points=points,
        ):
            for note in prediction.radiograph.notes:
                tqdm.write(f"note: {prediction.radiograph.path}: {note}", file=sys.stderr)
                notes.setdefault(prediction.name, []).append(note)
            shown = chosen or prediction.notable_findings(points.thresholds)
            boxes = prediction.boxes(shown, rule)
            strip = SYNTHETIC if predictor.synthetic else ""
            overlays = {name: write_overlay(prediction, name, boxes, out, strip) for name in shown}
            parts.append((finding_table(prediction, points, overlays), boxes))
            if _SAVE_HEATMAPS.value:
                write_heatmaps(prediction, predictor, out / "heatmaps")
    finally:  # predictions made before Ctrl-C are kept
        write_tables(parts, skipped, out)
        if parts:
            content = about(predictor, notes) | {
                "heatmaps": str(maps),
                "box_rule": dataclasses.asdict(rule),
                "prevalence": prevalences(names),
            }
            write_text(out / "about.json", json.dumps(content, indent=2) + "\n")
    if not parts:
        raise UserError(f"none of {len(paths)} files could be read; {out}/skipped.csv says why")
    print(summary_text(pd.concat([findings for findings, _ in parts], ignore_index=True)))
    print(f"operating points and calibration: {predictor.calibration or 'none'}")
    print(f"{len(parts)} radiographs predicted, {len(skipped)} files skipped; written to {out}")
    if predictor.synthetic:
        print(f"warning: {SYNTHETIC}")
    print(RESEARCH_ONLY)


def about(predictor: Predictor, notes: dict[str, list[str]]) -> dict[str, Any]:
    """Returns the content of about.json."""
    return {
        "run": models.model_named(),
        "epoch": predictor.epoch,
        "model": classifier_config(predictor.model),
        "image_size": predictor.image_size,
        "square": predictor.square,
        "findings": predictor.named_findings,
        "calibration": predictor.calibration,
        "source": predictor.source,
        "synthetic": predictor.synthetic,
        "warnings": [SYNTHETIC] if predictor.synthetic else [],
        "notes": notes,
        "disclaimer": RESEARCH_ONLY,
    }


def require_own_tables(out: Path) -> None:
    """Refuses a folder with tables of another program; skipped.csv is there wherever ours are."""
    *others, skipped = map(out.joinpath, _TABLES)
    for path in others:
        if path.exists() and not skipped.exists():
            raise UserError(f"{path} was not written by jaxcxr predict; name another --out")


def remove_earlier(out: Path) -> None:
    """Removes the tables of an earlier call, and the overlays that its findings.csv lists."""
    try:
        overlays = pd.read_csv(out / "findings.csv")["overlay"].dropna()
    except (OSError, ValueError, KeyError):
        overlays = pd.Series(dtype=str)
    drawn = [path for path in map(out.joinpath, overlays) if lies_in(path, out / "overlays")]
    for path in (*map(out.joinpath, _TABLES), *drawn, out / "about.json"):
        remove_file(path)


def write_tables(
    parts: list[tuple[pd.DataFrame, pd.DataFrame]], skipped: dict[str, str], out: Path
) -> None:
    """Writes the tables of the predictions made so far, and of the files skipped."""
    reasons = pd.DataFrame({"file": skipped.keys(), "reason": skipped.values()})
    tables.write(reasons, out / "skipped.csv")
    if not parts:
        return
    findings, boxes = (pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))
    tables.write(prediction_table(findings), out / "predictions.csv")
    tables.write(findings, out / "findings.csv")
    tables.write(tables.box_table(boxes), out / "boxes.csv")


def match(name: str, names: Sequence[str], flag: str) -> str:
    """Returns the model's finding that a word of a flag means."""
    try:
        return match_finding(name, names)
    except KeyError as error:
        raise UserError(f"--{flag} has {name!r}; use all, or some of {', '.join(names)}") from error


def prevalences(names: Sequence[str]) -> dict[str, float]:
    """Returns the prevalences of --prevalence."""
    result = {}
    for word in _PREVALENCE.value:
        name, _, value = word.partition("=")
        try:
            result[match(name, names, "prevalence")] = float(value)
        except ValueError as error:
            raise UserError(f"--prevalence has {word!r}; expected FINDING=0.02") from error
    return result


def write_overlay(
    prediction: PredictionResult, finding: str, boxes: pd.DataFrame, out: Path, note: str
) -> str:
    """Draws a finding over its radiograph; returns where, relative to --out."""
    name = f"overlays/{file_stem(prediction.name)}.{finding}.png"
    radiograph = prediction.radiograph
    small = Image.fromarray(radiograph.pixels)
    small.thumbnail((_OVERLAY_SIDE, _OVERLAY_SIDE))
    drawn = overlay(
        np.asarray(small),
        prediction.heatmaps[..., prediction.findings.index(finding)],
        np.zeros((0, 4)),
        boxes.loc[boxes["finding"] == finding, list("xywh")].to_numpy(),
        (radiograph.width, radiograph.height),
        prediction.original_grid,
        note=note,
    )
    with atomic_write(out / name) as aside:
        Image.fromarray(drawn).save(aside, compress_level=1)  # four times as fast as the usual 6
    return name


def file_stem(name: str) -> str:
    """Returns a radiograph's name, shortened where no file could bear it with an ending."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 4]}…{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def write_heatmaps(prediction: PredictionResult, predictor: Predictor, folder: Path) -> None:
    """Writes the heat maps (h, w, F), the findings' names, and where the cells lie.

    `first_center` and `stride` are in pixels of the network's square input of `image_size`; the
    radiograph of `width` × `height` pixels became that by the rule `square`.
    """
    with atomic_write(folder / f"{file_stem(prediction.name)}.npz") as aside:
        np.savez_compressed(
            aside,
            heatmaps=prediction.heatmaps,
            findings=prediction.findings,
            first_center=prediction.grid.first_center,
            stride=prediction.grid.stride,
            image_size=predictor.image_size,
            width=prediction.radiograph.width,
            height=prediction.radiograph.height,
            square=predictor.square,
        )
