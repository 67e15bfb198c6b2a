"""Masks of findings from polygons, run lengths and boxes, and the scores of heat maps against them.

The protocol is CheXlocalize's: Saporta et al. 2022, "Benchmarking saliency methods for chest X-ray
interpretation", Nature Machine Intelligence 4, and its public code
(github.com/rajpurkarlab/cheXlocalize), which this arithmetic follows:

- A heat map is interpolated bilinearly to the image's pixels and scaled from its least to its
  greatest heat; pixels above the cut are the predicted mask.
- Without a cut Otsu's threshold of the map in 256 levels is taken, and the outlines are filled:
  holes belong to the mask, single pixels do not.
- IoU of an image and finding: over those with both masks (true positives), or with either; images
  with none have no IoU. mIoU is the mean over images.
- Without the switch to true positives, images that the file of masks does not name count as having
  none, and a map may count as empty where its finding's probability is below a cutoff: the first
  of 0, 0.1 … 0.8 with the greatest mIoU, to three decimals, of Otsu's masks in a validation set.
- Hit rate: part of the images with a mask whose hottest pixel (the first of equals) lies in it.
- The cut of a finding is the first of 0.2, 0.3 … 0.8 with the greatest mIoU of the true positives
  in a validation set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import ndimage

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import scale_heatmap
from jaxcxr.evaluation.fields import json_content
from jaxcxr.evaluation.outcome import corners
from jaxcxr.evaluation.statistics import draw_patients, interval, mean_of_known
from jaxcxr.files import reason_of

CUTS = tuple(round(0.2 + step / 10, 1) for step in range(7))
"""The cuts that are tried on a validation set."""

_CUTOFFS = tuple(step / 10 for step in range(9))
_ANY_SIZE = (256, 256)
"""Of images without masks: IoU is 0 or NaN at every size."""

Masks = dict[str, dict[str, np.ndarray]]
"""Masks (h, w) bool by image and finding."""

HeatMap = Callable[[tuple[int, int]], np.ndarray]
"""Gives a heat map (h, w) in the pixels of an image of this height and width."""


Probabilities = Mapping[tuple[str, str], float]
"""Probabilities by image and finding."""


class MapScore(NamedTuple):
    """What one heat map scores.

    Attributes:
        overlap: IoU of the masks; NaN where neither, or of true positives one, has a pixel.
        hit: 1 or 0; NaN without a mask or heat map.
    """

    overlap: float
    hit: float


def read_masks(path: str | Path) -> Masks:
    """Reads masks from JSON: of CheXlocalize (polygons or run lengths) or COCO (either).

    CheXlocalize: ``{image: {"img_size": [h, w], finding: [[[x, y], …], …]}}``, or ``{image:
    {finding: {"size": [h, w], "counts": …}}}``. COCO: images, categories, and annotations with
    ``segmentation``; those of one image and finding are joined.

    Raises:
        UserError: The file cannot be read as such.
    """
    content = json_content(path)
    try:
        if "annotations" in content and "images" in content:
            return _coco_masks(content)
        masks: Masks = {}
        for image, entry in content.items():
            size = entry.get("img_size")
            masks[image] = {
                finding: decode_rle(shape) if isinstance(shape, dict) else fill(shape, size)
                for finding, shape in entry.items()
                if finding != "img_size"
            }
        return masks
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path} has no masks ({reason_of(error):.100}); expected CheXlocalize's or COCO's JSON"
        ) from error


def _coco_masks(content: Mapping[str, Any]) -> Masks:
    images = {image["id"]: image for image in content["images"]}
    names = {kind["id"]: kind["name"] for kind in content["categories"]}
    masks: Masks = {image["file_name"]: {} for image in images.values()}
    for entry in content["annotations"]:
        image, shape = images[entry["image_id"]], entry["segmentation"]
        if isinstance(shape, dict):
            mask = decode_rle(shape)
        else:
            polygons = [np.reshape(polygon, (-1, 2)) for polygon in shape]
            mask = fill(polygons, (image["height"], image["width"]))
        own, finding = masks[image["file_name"]], names[entry["category_id"]]
        own[finding] = own.get(finding, False) | mask
    return masks


def fill(polygons: Iterable[Any], size: tuple[int, int]) -> np.ndarray:
    """Returns the (h, w) mask of polygons with their outlines, as CheXlocalize draws them.

    Args:
        polygons: Each (n, 2), x and y in pixels.
        size: Height and width.
    """
    height, width = size
    picture = Image.new("1", (width, height))
    for polygon in polygons:
        points = [(float(x), float(y)) for x, y in polygon]
        ImageDraw.Draw(picture).polygon(points, outline=1, fill=1)
    return np.array(picture)


def decode_rle(coded: Mapping[str, Any]) -> np.ndarray:
    """Returns the (h, w) mask of COCO's run lengths, plain or compressed.

    Runs of zeros and ones follow each other down the columns. Compressed, a run is a number in
    groups of five bits, the lowest first, each a character from "0"; a sixth bit says that another
    group follows, and the last group's highest bit is the sign. From the third run on the number is
    the difference to the run two before (pycocotools' maskApi.c).

    Args:
        coded: ``size`` (h, w) and ``counts``, a list or text.

    Raises:
        ValueError: The runs do not fill the size.
    """
    height, width = coded["size"]
    runs = coded["counts"]
    if isinstance(runs, str):
        runs = _runs(runs)
    values = np.arange(len(runs)) % 2 == 1
    flat = np.repeat(values, runs)
    if flat.size != height * width:
        raise ValueError(f"runs of {flat.size} pixels for {height} × {width}")
    return flat.reshape(width, height).T


def _runs(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text.encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def masks_of_boxes(boxes: pd.DataFrame) -> Masks:
    """Returns masks of boxes with columns width and height, the size of their images.

    A pixel belongs to a box where its center lies within.
    """
    masks: Masks = {}
    sizes = boxes[["height", "width"]].to_numpy(int).tolist()
    keys = boxes[["image_name", "finding"]].to_numpy().tolist()
    for (image, finding), size, (x, y, w, h) in zip(keys, sizes, corners(boxes), strict=True):
        mask = masks.setdefault(image, {}).setdefault(finding, np.zeros(size, bool))
        left, top, right, bottom = (
            max(int(np.ceil(edge - 0.5)), 0) for edge in (x, y, x + w, y + h)
        )
        mask[top:bottom, left:right] = True
    return masks


def predicted_mask(heat: np.ndarray, cut: float | None) -> np.ndarray:
    """Returns the (h, w) mask of a heat map in the image's pixels; without a cut by Otsu's.

    Args:
        heat: (h, w), any scale.
        cut: From 0 to below 1, between the least and greatest heat.
    """
    heat = scale_heatmap(heat)
    if cut is not None:
        return heat > cut
    levels = (255 * heat).astype(np.uint8)
    filled = np.asarray(ndimage.binary_fill_holes(levels > _otsu_level(levels)), bool)
    neighbors = ndimage.convolve(
        filled.astype(np.uint8), np.ones((3, 3), np.uint8), mode="constant"
    )
    return filled & (neighbors > 1)


def _otsu_level(levels: np.ndarray) -> int:
    """Returns the last level of the lower class by Otsu 1979, the first of equals."""
    counts = np.bincount(levels.ravel(), minlength=256)
    below, total = counts.cumsum(), levels.size
    sums = (counts * np.arange(256)).cumsum()
    distance = (sums[-1] * below - sums * total).astype(np.float64) ** 2
    weight = below.astype(np.float64) * (total - below)
    between = np.divide(distance, weight, out=np.zeros(256), where=weight > 0)
    return int(between.argmax())


def overlap(predicted: np.ndarray, mask: np.ndarray, true_positives: bool) -> float:
    """Returns the IoU of two masks; NaN where both, or of true positives one, are empty."""
    union = np.sum(predicted | mask)
    if union == 0 or (true_positives and not (predicted.any() and mask.any())):
        return float("nan")
    return float(np.sum(predicted & mask) / union)


def score_map(
    heat: np.ndarray | None,
    mask: np.ndarray,
    cut: float | None,
    true_positives: bool,
    is_empty: bool = False,
) -> MapScore:
    """Scores a heat map in the image's pixels, None where there is none, against a mask.

    Of an empty one only the hottest pixel counts.
    """
    nothing = np.zeros_like(mask)
    if heat is None:
        return MapScore(overlap(nothing, mask, true_positives), float("nan"))
    predicted = nothing if is_empty else predicted_mask(heat, cut)
    hit = float(mask[np.unravel_index(heat.argmax(), heat.shape)]) if mask.any() else float("nan")
    return MapScore(overlap(predicted, mask, true_positives), hit)


def findings_of(masks: Masks) -> list[str]:
    """Returns the findings that any image has a mask of, by name."""
    return sorted({finding for own in masks.values() for finding in own})


def masks_without_map(masks: Masks, maps: Mapping[tuple[str, str], HeatMap]) -> int:
    """Returns the number of masks with a pixel that have no heat map."""
    return sum(
        bool(mask.any()) and (image, finding) not in maps
        for image, own in masks.items()
        for finding, mask in own.items()
    )


def score_maps(
    masks: Masks,
    maps: Mapping[tuple[str, str], HeatMap],
    cuts: Mapping[str, float],
    true_positives: bool = True,
    empty: Collection[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Scores heat maps against masks.

    Args:
        masks: The masks; a finding that an image does not name has none there.
        maps: The heat maps by image and finding; a missing one predicts nothing.
        cuts: Cut of each finding; without one by Otsu's method.
        true_positives: Whether only images with both masks count for IoU; otherwise images without
            masks that have heat maps are scored, too.
        empty: Images and findings whose heat maps predict nothing, of `improbable`.

    Returns:
        image_name, finding, iou, hit of every image that is scored, and finding that any mask is
        of.
    """
    findings = findings_of(masks)
    masks = {image: own for image, own in masks.items() if own}
    if not true_positives:
        masks = {image: {} for image, _ in maps} | masks
    rows = []
    for image, own in sorted(masks.items()):
        none = np.zeros(next(iter(own.values())).shape if own else _ANY_SIZE, bool)
        for finding in findings:
            mask, heat = own.get(finding, none), maps.get((image, finding))
            enlarged = None if heat is None else heat(mask.shape)
            is_empty = (image, finding) in empty
            score = score_map(enlarged, mask, cuts.get(finding), true_positives, is_empty)
            rows.append((image, finding, *score))
    return pd.DataFrame(rows, columns=["image_name", "finding", "iou", "hit"])


def choose_cuts(masks: Masks, maps: Mapping[tuple[str, str], HeatMap]) -> dict[str, float]:
    """Returns for each finding the first of `CUTS` with the greatest mIoU of true positives."""
    findings = findings_of(masks)
    tables = [score_maps(masks, maps, dict.fromkeys(findings, cut)) for cut in CUTS]
    overlaps = np.stack([table["iou"].to_numpy(np.float64) for table in tables])
    finding = tables[0]["finding"].to_numpy(str)
    means = {name: mean_of_known(overlaps[:, finding == name]) for name in findings}
    return {
        name: CUTS[int(np.nanargmax(values))]
        for name, values in means.items()
        if not np.isnan(values).all()
    }


def choose_cutoffs(
    masks: Masks, maps: Mapping[tuple[str, str], HeatMap], probabilities: Probabilities
) -> dict[str, float]:
    """Returns for each finding the cutoff of its probability that the module describes."""
    scores = score_maps(masks, maps, {}, true_positives=False)
    keys = zip(scores["image_name"], scores["finding"], strict=True)
    scores["probability"] = [probabilities[key] if key in maps else np.nan for key in keys]
    cutoffs = {}
    for finding, rows in scores.loc[scores["probability"].notna()].groupby("finding"):
        without = rows["hit"].where(rows["hit"].isna(), 0)  # IoU of nothing with the mask
        means = [
            rows["iou"].where(rows["probability"] > cutoff, without).mean() for cutoff in _CUTOFFS
        ]
        if not np.isnan(means).all():
            cutoffs[str(finding)] = _CUTOFFS[int(np.nanargmax(np.round(means, 3)))]
    return cutoffs


def improbable(probabilities: Probabilities, cutoffs: Mapping[str, float]) -> set[tuple[str, str]]:
    """Returns the images and findings whose probability is below the finding's cutoff."""
    return {key for key, value in probabilities.items() if value < cutoffs.get(key[1], 0)}


def map_table(
    scores: pd.DataFrame, patients: Sequence[str], *, bootstraps: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Averages the scores of `score_maps`, with 95 % intervals by bootstrap over patients.

    Args:
        scores: Of `score_maps`.
        patients: (N,) patient of each row.
        bootstraps: Number of draws.
        seed: Seed of the draws.

    Returns:
        finding, miou, miou_low, miou_high, images (that have an IoU), hit_rate, hit_low, hit_high,
        masks (with a heat map). The last row, "Mean", has the unweighted means over the findings.
    """
    names, patient_of = np.unique(patients, return_inverse=True)
    weights = np.vstack([np.ones(len(names)), draw_patients(len(names), bootstraps, seed)])
    findings = list(dict.fromkeys(scores["finding"]))
    table = pd.DataFrame({"finding": [*findings, "Mean"]})
    for score, short, count in (("iou", "miou", "images"), ("hit", "hit", "masks")):
        columns, counts = [], []
        for finding in findings:
            known = ((scores["finding"] == finding) & scores[score].notna()).to_numpy()
            of_draw, values = weights[:, patient_of[known]], scores[score].to_numpy()[known]
            total = of_draw.sum(axis=1)
            nan = np.full(len(weights), np.nan)
            columns.append(np.divide(of_draw @ values, total, out=nan, where=total > 0))
            counts.append(int(known.sum()))
        drawn = np.stack([*columns, mean_of_known(np.stack(columns, axis=1))], axis=1)
        low, high = interval(drawn[1:])
        table["hit_rate" if short == "hit" else short] = drawn[0]
        table[f"{short}_low"], table[f"{short}_high"] = low, high
        table[count] = [*counts, sum(counts)]
    return table
