"""Files of boxes for the programs that score them, in pixels of the release's PNG files."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags

from jaxcxr.cli.scoring import print_notes
from jaxcxr.data.phantom import MARKER
from jaxcxr.data.releases.original_sizes import original_sizes
from jaxcxr.data.releases.release import Release
from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.box_units import scale_boxes, unit_problem

_PNG_SIZE = flags.DEFINE_integer(
    "png_size",
    None,
    "Width and height of the PNG files that the release's boxes are annotated in. Default: a "
    "phantom's image size, otherwise 1024.",
    lower_bound=1,
)
_BOX_IMAGE_SIZE = flags.DEFINE_string(
    "box_image_size",
    None,
    "Size of the images that --boxes was made from: pixels (224 or 256x224), fraction (x, y, w, h "
    "from 0 to 1) or original (OriginalImage[Width,Height] of the metadata). Default: the PNG "
    "files' size.",
)
_COCO_DATASET = flags.DEFINE_string(
    "coco_dataset",
    None,
    "COCO file whose images and categories the ids of detections in --boxes are of.",
)

_PIXELS = re.compile(r"[1-9][0-9]{0,4}(x[1-9][0-9]{0,4})?")


@flags.validator("box_image_size", message="expected 224, 256x224, fraction or original")
def _is_image_size(text: str | None) -> bool:
    return text in (None, "fraction", "original") or _PIXELS.fullmatch(text) is not None


def annotated_side(release: Path) -> int:
    """Returns the width and height in pixels of the PNG files that a release's boxes are of."""
    marker = release / MARKER
    return json.loads(marker.read_text())["image_size"] if marker.exists() else 1024


def annotated_boxes(release: Release) -> pd.DataFrame:
    """Returns a release's boxes with their patients, official_split, and size of the PNG files."""
    people = release.images.loc[:, ["image_name", "patient", "official_split"]]
    side = _PNG_SIZE.value or annotated_side(release.root)
    return release.boxes.merge(people, on="image_name", how="left").assign(width=side, height=side)


def predicted_boxes(path: str, annotated: pd.DataFrame, release: Release) -> pd.DataFrame:
    """Reads a file of boxes in pixels of the PNG files; prints what is left out of it."""
    predicted, notes = tables.read_boxes(
        path, release.images["image_name"], coco_dataset=_COCO_DATASET.value
    )
    print_notes(notes)
    side = _PNG_SIZE.value or annotated_side(release.root)
    return in_png_pixels(predicted, annotated, side, path, release.root)


def in_png_pixels(
    predicted: pd.DataFrame, annotated: pd.DataFrame, side: int, path: str, release: Path
) -> pd.DataFrame:
    """Returns predicted boxes in pixels of PNG files of side × side; warns of an unlikely unit."""
    size = _BOX_IMAGE_SIZE.value
    if "width" in predicted:
        if size is not None:
            raise UserError(
                f"{path} has columns width and height, the size of the images of its boxes; "
                "leave out --box_image_size"
            )
        drawn_in, source = predicted[["width", "height"]].to_numpy(), "the columns width and height"
        predicted = predicted.drop(columns=["width", "height"])
    else:
        drawn_in = given_size(size or str(side), predicted, release)
        source = f"--box_image_size={size}" if size else f"the default --box_image_size={side}"
    scaled = scale_boxes(predicted, drawn_in, np.full(2, side))
    if problem := unit_problem(scaled, annotated, side, side):
        print(
            f"warning: {path}: by {source}, {problem}; that size of their images seems to be wrong",
            file=sys.stderr,
        )
    return scaled


def given_size(size: str, predicted: pd.DataFrame, release: Path) -> np.ndarray:
    """Returns width and height, (2,) or (N, 2), of images whose size is given as a flag's text."""
    if size == "original":
        return original_sizes(release, predicted["image_name"].tolist())
    sides = ["1"] if size == "fraction" else size.split("x")
    return np.array([float(sides[0]), float(sides[-1])])
