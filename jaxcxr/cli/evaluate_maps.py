"""Scores heat maps against masks by CheXlocalize's protocol: mIoU and hit rate of each finding.

jaxcxr evaluate_maps --maps DIR --masks masks.json --out DIR
jaxcxr evaluate_maps --maps DIR --masks masks.json --tune_maps DIR --tune_masks FILE --out DIR

Maps are files of jaxcxr predict --save_heatmaps (NAME.npz), IMAGE_FINDING.npy or .png. Masks are
CheXlocalize's JSON (polygons or run lengths), COCO's, or a CSV file of boxes with width and height.
Maps are cut by Otsu's method, at --cut, or where mIoU is greatest on --tune_maps and --tune_masks.

Writes map_scores.csv (finding, cut, mIoU and hit rate with 95 % intervals by bootstrap over
patients) and map_cases.csv (every image and finding).
"""

from __future__ import annotations

# isort: split
import re
from pathlib import Path

import pandas as pd
from absl import flags

from jaxcxr.errors import UserError
from jaxcxr.evaluation import masks as scoring
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.map_files import find_maps
from jaxcxr.reporting.score_text import maps_text

_MAPS = flags.DEFINE_string("maps", None, "Folder of heat maps.", required=True)
_MASKS = flags.DEFINE_string("masks", None, "File of masks or boxes.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder for the scores.", required=True)
_TUNE_MAPS = flags.DEFINE_string("tune_maps", None, "Heat maps of a validation set.")
_TUNE_MASKS = flags.DEFINE_string("tune_masks", None, "Masks of that validation set.")
_CUT = flags.DEFINE_float(
    "cut", None, "Cut of all maps, from least (0) to greatest heat (1).", 0, 1
)
_TRUE_POSITIVES = flags.DEFINE_bool(
    "true_positives", True, "Take the mean IoU over images with both masks, not with either."
)
_BOOTSTRAPS = flags.DEFINE_integer("bootstraps", 1000, "Draws per interval.", 2, 1_000_000)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0)

_PATIENT = re.compile(r"patient[0-9]+(?=[_/])|[0-9]{8}(?=_[0-9]{3})")
"""Patient in names of CheXpert and ChestX-ray14."""


@flags.multi_flags_validator(
    ["tune_maps", "tune_masks", "cut"],
    message="give --tune_maps with --tune_masks, or --cut, or none of them",
)
def _are_one_choice(given: dict[str, object]) -> bool:
    named = {name for name, value in given.items() if value is not None}
    return named in (set(), {"cut"}, {"tune_maps", "tune_masks"})


def main() -> None:
    """Scores the maps that the flags name."""
    masks = read_masks(_MASKS.value)
    maps = find_maps(_MAPS.value, masks, scoring.findings_of(masks))
    cuts = dict.fromkeys(scoring.findings_of(masks), _CUT.value) if _CUT.value is not None else {}
    if _TUNE_MASKS.value and _TUNE_MAPS.value:
        tuning = read_masks(_TUNE_MASKS.value)
        cuts = scoring.choose_cuts(
            tuning, find_maps(_TUNE_MAPS.value, tuning, scoring.findings_of(tuning))
        )
    scores = scoring.score_maps(masks, maps, cuts, _TRUE_POSITIVES.value)
    patients = [_patient(name) for name in scores["image_name"]]
    scored = pd.Series(patients).nunique()
    table = scoring.map_table(scores, patients, bootstraps=_BOOTSTRAPS.value, seed=_SEED.value)
    table.insert(1, "cut", [str(cuts.get(name, "otsu")) for name in table["finding"]])
    table.loc[table["finding"] == "Mean", "cut"] = ""
    images = scores["image_name"].nunique()
    print(f"{len(maps)} heat maps; masks of {images} images of {scored} patients")
    missing = scoring.masks_without_map(masks, maps)
    if missing:
        print(f"{missing} masks have no heat map: no overlap, and not in the hit rate")
    tables.write(scores, Path(_OUT.value) / "map_cases.csv")
    tables.write(table, Path(_OUT.value) / "map_scores.csv")
    print(maps_text(table))
    print(f"written to {_OUT.value}")


def _patient(name: str) -> str:
    found = _PATIENT.search(name)
    return found[0] if found else name


def read_masks(path: str) -> scoring.Masks:
    """Reads a file of masks, or of boxes as masks."""
    if Path(path).suffix.lower() != ".csv":
        return scoring.read_masks(path)
    boxes, notes = tables.read_boxes(path, None)
    for note in notes:
        print(f"note: {note}")
    if "width" not in boxes:
        raise UserError(f"{path} has no columns width and height, the size of the images")
    return scoring.masks_of_boxes(boxes)
