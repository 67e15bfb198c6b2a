"""Predicts new radiographs: the probability of each finding, and where it is seen.

jaxcxr predict --out predictions radiograph.dcm
jaxcxr predict --model runs/baseline --out predictions a.png scans/

--model names a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, a name of the
catalog (docs/models.md; the default is its first), or a PyTorch file. Takes PNG, JPEG, TIFF, BMP
and DICOM files (pip install 'jaxcxr[dicom]'), and folders. Writes under --out:

    predictions.csv  Image Index and the probability of each finding, for jaxcxr evaluate_auc
    findings.csv     per image and finding: probability, operating point, whether the probability
                     reaches it, calibrated probability and the overlay (empty where there is none)
    boxes.csv        boxes of the findings shown, pixels of the original, for jaxcxr evaluate_boxes
    overlays/        heat map and boxes over the radiograph, one PNG per image and finding shown
    files.csv        each file's path, and notes on it (lateral view, seems rotated, …)
    skipped.csv      the files that cannot be used, and why
    about.json       the model, its network and epoch, where calibration comes from, the settings,
                     and whether it was trained on synthetic radiographs

Operating points and calibration are those that jaxcxr evaluate_auc or jaxcxr calibrate found for
the model; without them these columns are empty. A calibrated probability holds where the finding is
as frequent as in the radiographs it was fitted to; --prevalence=Effusion=0.02,Hernia=0.001 adjusts
it to your own population. Shown are the findings that reach their operating point, or else the most
probable one, or those of --findings. Boxes follow the model's box_rule.csv (jaxcxr tune_boxes) or
else the paper's rule, unless --threshold or --scale is given. Files of one name in several
folders are named with their folders.

Results are written batch by batch. The same call continues where an earlier one was stopped:
files that are in predictions.csv are not predicted again. Another model or other settings need
another --out. --nooverlays, a larger --batch_size and a GPU make many files faster.

A file that cannot be read gets a line on standard error and does not stop the others; the exit
status is 0 if any was read, 1 if none was.
"""

from __future__ import annotations

# isort: split
import dataclasses
import hashlib
import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from absl import flags
from PIL import Image
from tqdm import tqdm

from jaxcxr.cli import box_flags, models
from jaxcxr.cli.cpu_devices import use_device_per_core
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.cli.result_folder import TABLES, ResultFolder, real_path
from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.files import atomic_write
from jaxcxr.findings import match_finding
from jaxcxr.images.plausibility import suspicions
from jaxcxr.images.search import find_radiographs
from jaxcxr.reporting.overlays import overlay

if TYPE_CHECKING:
    from jaxcxr.evaluation.boxes import BoxRule
    from jaxcxr.inference.operating_points import OperatingPoints
    from jaxcxr.inference.prediction import PredictionResult
    from jaxcxr.inference.predictor import Predictor

models.define_model_flags(required=False)
_OUT = flags.DEFINE_string("out", None, "Where to write.", required=True)
_FINDINGS = flags.DEFINE_list("findings", [], "Findings to show of every image, or all.")
_PREVALENCE = flags.DEFINE_list(
    "prevalence", [], "Part of your patients that have a finding: Effusion=0.02,Hernia=0.001."
)
_OVERLAYS = flags.DEFINE_bool("overlays", True, "Draw overlays; without, many files are faster.")
_SAVE_HEATMAPS = flags.DEFINE_bool("save_heatmaps", False, "Write heatmaps/NAME.npz, too.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Radiographs at a time.", lower_bound=1)
flags.adopt_module_key_flags(box_flags)
define_import_flag()

_LONGEST_NAME = 160
"""Bytes of a radiograph's name in the name of its overlay; file systems take 255 in all."""

_OVERLAY_SIDE = 1024
"""Longer side of an overlay in pixels, at most: detectors have up to 5,000."""

_SUMMARY_ROWS = 20
"""Findings that the terminal shows; findings.csv has all."""

_UNCALIBRATED = "none; jaxcxr calibrate fits them to labeled radiographs of your own"

POSITIONAL = "files"
"""What the words that are not flags mean."""


def main(arguments: list[str]) -> None:
    """Predicts the files that the arguments name."""
    from jaxcxr.inference.finding_table import summary_text
    from jaxcxr.inference.prediction import in_threads, predict_files, unique_names
    from jaxcxr.inference.predictor import load_model
    from jaxcxr.models.weights.model_card import RESEARCH_ONLY, SYNTHETIC

    use_device_per_core()
    out = Path(_OUT.value)
    paths = find_radiographs(arguments, but_not_in=out)
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
    settings = about(predictor, points) | {
        "heatmaps": str(maps),
        "box_rule": dataclasses.asdict(rule),
        "prevalence": prevalences(names),
        "shown": chosen,
        "overlays": _OVERLAYS.value,
        "save_heatmaps": _SAVE_HEATMAPS.value,
    }
    results = ResultFolder(out, settings)
    todo = results.remaining(unique_names(paths), paths)
    if len(todo) < len(paths):
        print(f"{len(paths) - len(todo)} of {len(paths)} files were predicted by an earlier call")
    skipped = itertools.count()

    def refuse(path: str, reason: str) -> None:
        tqdm.write(f"skipped: {path}: {reason}", file=sys.stderr)
        results.skip(path, reason)
        next(skipped)

    def rows(prediction: PredictionResult) -> dict[str, pd.DataFrame]:
        return result_rows(prediction, predictor, points, chosen, rule)

    predictions = predict_files(
        predict,
        predictor.image_size,
        predictor.square,
        [path for _, path in todo],
        batch_size=_BATCH_SIZE.value,
        refuse=refuse,
        names=[name for name, _ in todo],
        findings=names,
        points=points,
    )
    done, shown, first, noted = write_results(
        results, in_threads(rows, predictions, ahead=_BATCH_SIZE.value)
    )
    if not done and not results.earlier:
        raise UserError(f"none of {len(paths)} files could be read; {out}/skipped.csv says why")
    if shown:
        print(summary_text(first, shown))
    print(f"operating points and calibration: {predictor.calibration or _UNCALIBRATED}")
    radiographs = "radiograph" if done == 1 else "radiographs"
    print(f"{done} {radiographs} predicted, {next(skipped)} files skipped; written to {out}")
    if noted:
        print(f"check {noted} of them: the notes in {out}/files.csv say what may be wrong")
    if predictor.synthetic:
        print(f"warning: {SYNTHETIC}")
    print(RESEARCH_ONLY)


def write_results(
    results: ResultFolder, rows: Iterator[dict[str, pd.DataFrame]]
) -> tuple[int, int, pd.DataFrame, int]:
    """Writes results batch by batch.

    Returns:
        The numbers of radiographs and of findings shown, the first of the latter, and the number of
        radiographs with notes.
    """
    done, shown, first, noted = 0, 0, pd.DataFrame(), 0
    while batch := list(itertools.islice(rows, _BATCH_SIZE.value)):
        joined = {name: pd.concat([one[name] for one in batch]) for name in TABLES}
        results.append(joined)
        for path, notes in joined["files.csv"][["file", "notes"]].to_numpy():
            if notes:
                noted += 1
                tqdm.write(f"note: {path}: {notes}", file=sys.stderr)
        new = joined["findings.csv"].loc[lambda table: table["overlay"].notna()]
        done, shown = done + len(batch), shown + len(new)
        if len(first) < _SUMMARY_ROWS:
            first = pd.concat([first, new]).head(_SUMMARY_ROWS)
    return done, shown, first, noted


def result_rows(
    prediction: PredictionResult,
    predictor: Predictor,
    points: OperatingPoints,
    chosen: list[str],
    rule: BoxRule,
) -> dict[str, pd.DataFrame]:
    """Returns a radiograph's rows of each table; writes its overlays and heat maps."""
    from jaxcxr.inference.finding_table import finding_table, prediction_table
    from jaxcxr.models.weights.model_card import SYNTHETIC

    out = Path(_OUT.value)
    shown = chosen or prediction.notable_findings(points.thresholds)
    boxes = prediction.boxes(shown, rule)
    overlays = dict.fromkeys(shown, "")
    if _OVERLAYS.value:
        strip = SYNTHETIC if predictor.synthetic else ""
        overlays = {name: write_overlay(prediction, name, boxes, out, strip) for name in shown}
    if _SAVE_HEATMAPS.value:
        write_heatmaps(prediction, predictor, out / "heatmaps")
    findings = finding_table(prediction, points, overlays)
    radiograph = prediction.radiograph
    path, notes = radiograph.path, "; ".join([*radiograph.notes, *suspicions(radiograph.pixels)])
    file = pd.DataFrame({tables.IMAGE: [prediction.name], "file": real_path(path), "notes": notes})
    return {
        "predictions.csv": prediction_table(findings),
        "findings.csv": findings,
        "boxes.csv": tables.box_table(boxes),
        "files.csv": file,
    }


def about(predictor: Predictor, points: OperatingPoints) -> dict[str, Any]:
    """Returns what about.json has of the model."""
    import jax

    from jaxcxr.models import classifier_config
    from jaxcxr.models.weights.model_card import RESEARCH_ONLY, SYNTHETIC

    digest = hashlib.sha256()
    for array in jax.tree.leaves((predictor.variables, dataclasses.astuple(points))):
        digest.update(np.asarray(array).tobytes())
    return {
        "run": models.model_named(),
        "epoch": predictor.epoch,
        "model": classifier_config(predictor.model),
        "image_size": predictor.image_size,
        "square": predictor.square,
        "findings": predictor.named_findings,
        "calibration": predictor.calibration,
        "source": predictor.source,
        "sha256": digest.hexdigest(),
        "synthetic": predictor.synthetic,
        "warnings": [SYNTHETIC] if predictor.synthetic else [],
        "disclaimer": RESEARCH_ONLY,
    }


def match(name: str, names: Sequence[str], flag: str) -> str:
    """Returns the model's finding that a word of a flag means."""
    try:
        return match_finding(name, names)
    except KeyError as error:
        raise UserError(f"--{flag} has {name!r}; the findings are {', '.join(names)}") from error


def prevalences(names: Sequence[str]) -> dict[str, float]:
    """Returns the prevalences of --prevalence."""
    result = {}
    for word in _PREVALENCE.value:
        name, _, value = word.partition("=")
        finding = match(name, names, "prevalence")
        try:
            result[finding] = float(value)
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
