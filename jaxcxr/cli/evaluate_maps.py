"""Scores heat maps against masks by CheXlocalize's protocol: mIoU and hit rate of each finding.

jaxcxr evaluate_maps --maps DIR --masks masks.json --out DIR
jaxcxr evaluate_maps --maps DIR --masks masks.json --tune_maps DIR --tune_masks FILE --out DIR
jaxcxr evaluate_maps … --notrue_positives --probabilities FILE --tune_probabilities FILE

Maps are files of jaxcxr predict --save_heatmaps (NAME.npz), IMAGE_FINDING.npy or .png. Masks are
CheXlocalize's JSON (polygons or run lengths), COCO's, or a CSV file of boxes with width and height.
Maps are cut by Otsu's method, at --cut, or where mIoU is greatest on --tune_maps and --tune_masks.
With probabilities they are cut by Otsu's method, and are empty below the cutoff of the finding's
probability where mIoU is greatest on the validation set.

Writes map_scores.csv (finding, cut, mIoU and hit rate with 95 % intervals by bootstrap over
patients) and map_cases.csv (every image and finding).
"""

from __future__ import annotations

# isort: split
import re
from collections.abc import Iterable
from pathlib import Path

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
_PROBABILITIES = flags.DEFINE_string("probabilities", None, "Table of --maps' probabilities.")
_TUNE_PROBABILITIES = flags.DEFINE_string(
    "tune_probabilities", None, "Table of --tune_maps' probabilities; chooses the cutoffs."
)
_CUT = flags.DEFINE_float(
    "cut", None, "Cut of all maps, from least (0) to greatest heat (1).", 0, 1
)
_TRUE_POSITIVES = flags.DEFINE_bool(
    "true_positives",
    True,
    "Take the mean IoU over images with both masks, not with either, masked or not.",
)
_BOOTSTRAPS = flags.DEFINE_integer("bootstraps", 1000, "Draws per interval.", 2, 1_000_000)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0)

_PATIENT = re.compile(r"patient[0-9]+(?=[_/])|[0-9]{8}(?=_[0-9]{3})")
"""Patient in names of CheXpert and ChestX-ray14."""


@flags.multi_flags_validator(
    ["tune_maps", "tune_masks", "cut", "probabilities", "tune_probabilities"],
    message="give --tune_maps with --tune_masks, or --cut, or none of them; --probabilities and "
    "--tune_probabilities with both of the former",
)
def _are_one_choice(given: dict[str, object]) -> bool:
    named = {name for name, value in given.items() if value is not None}
    tuned = {"tune_maps", "tune_masks"}
    return named in (set(), {"cut"}, tuned, tuned | {"probabilities", "tune_probabilities"})


def main() -> None:
    """Scores the maps that the flags name."""
    masks = read_masks(_MASKS.value)
    findings = scoring.findings_of(masks)
    maps = find_maps(_MAPS.value, masks, findings, others=not _TRUE_POSITIVES.value)
    cuts = dict.fromkeys(findings, _CUT.value) if _CUT.value is not None else {}
    cutoffs, empty = {}, set()
    if _TUNE_MASKS.value and _TUNE_MAPS.value:
        tuning = read_masks(_TUNE_MASKS.value)
        tune_maps = find_maps(_TUNE_MAPS.value, tuning, scoring.findings_of(tuning), others=True)
        if _PROBABILITIES.value and _TUNE_PROBABILITIES.value:
            known = _probabilities(_TUNE_PROBABILITIES.value, tune_maps)
            cutoffs = scoring.choose_cutoffs(tuning, tune_maps, known)
            empty = scoring.improbable(_probabilities(_PROBABILITIES.value, maps), cutoffs)
        else:
            cuts = scoring.choose_cuts(tuning, tune_maps)
    scores = scoring.score_maps(masks, maps, cuts, _TRUE_POSITIVES.value, empty)
    patients = [_patient(name) for name in scores["image_name"]]
    table = scoring.map_table(scores, patients, bootstraps=_BOOTSTRAPS.value, seed=_SEED.value)
    table.insert(1, "cut", [str(cuts.get(name, "otsu")) for name in table["finding"]])
    table.loc[table["finding"] == "Mean", "cut"] = ""
    if cutoffs:
        table.insert(2, "cutoff", [cutoffs.get(name, "") for name in table["finding"]])
        print(f"{len(empty)} heat maps are empty, of probabilities below the cutoff")
    named = {image for image, own in masks.items() if own}
    shown = len({*map(_patient, named)})
    print(f"{len(maps)} heat maps; masks of {len(named)} images of {shown} patients")
    if others := len({*scores["image_name"]} - named):
        print(f"{others} more images have heat maps and no masks: any overlap there is 0")
    missing = scoring.masks_without_map(masks, maps)
    if missing:
        print(f"{missing} masks have no heat map: no overlap, and not in the hit rate")
    tables.write(scores, Path(_OUT.value) / "map_cases.csv")
    tables.write(table, Path(_OUT.value) / "map_scores.csv")
    print(maps_text(table))
    print(f"written to {_OUT.value}")


def _probabilities(path: str, maps: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Reads the probability of each map."""
    images, findings = {image for image, _ in maps}, sorted({finding for _, finding in maps})
    table, _ = tables.read_predictions(path, images, leave_out_unknown=True, findings=findings)
    known = table.set_index(tables.IMAGE).to_dict("index")
    try:
        return {(image, finding): known[image][finding] for image, finding in maps}
    except KeyError as error:
        raise UserError(f"{path}: {error} has a heat map and no probability") from error


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
