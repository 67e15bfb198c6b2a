"""Best, median and worst cases of a finding, drawn for every run (the paper's Figures 6 to 8)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd
from PIL import Image

from jaxcxr.evaluation.localization import best_overlaps
from jaxcxr.evaluation.outcome import corners
from jaxcxr.reporting.overlays import overlay
from jaxcxr.reporting.runs import Cases

_BOX = ["image_name", "finding", "x", "y", "w", "h"]
VIEWER_PORT = 7860
"""Of jaxcxr view on 127.0.0.1, where the pictures lead."""

_LONGEST_SIDE = 256
"""Of a drawn radiograph, in pixels."""


@dataclasses.dataclass(frozen=True)
class ChosenCase:
    """An annotated box with the boxes that every run predicts.

    Attributes:
        rank: "Best", "Median" or "Worst".
        image_name: Of its radiograph.
        iou: Mean over the runs.
        plain: (H, W, 3) uint8: the radiograph with the annotated boxes alone.
        pictures: Per run (H, W, 3) uint8: with heat map, annotated and predicted boxes.
        ious: Per run that of the predicted box that meets the annotated one best; 0 without any.
    """

    rank: str
    image_name: str
    iou: float
    plain: np.ndarray
    pictures: Mapping[str, np.ndarray]
    ious: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The chosen cases of one finding, out of `available` that all runs have in common."""

    finding: str
    available: int
    chosen: Sequence[ChosenCase]


def galleries(cases: Mapping[str, Cases], findings: Sequence[str]) -> list[Gallery]:
    """Chooses and draws cases of each finding.

    All runs show the same radiographs: those with the greatest, the median and the least IoU, as it
    is on average over the runs.

    Args:
        cases: Per run.
        findings: The findings to draw; those of which the runs have no case in common are left out.
    """
    scores = common_scores(cases)
    drawn = []
    for finding in findings:
        own = scores[scores.index.get_level_values("finding") == finding]
        ranked = own.iloc[own.mean(axis=1).argsort(kind="stable")]
        chosen = [
            _draw(rank, ranked.iloc[place], cases) for place, rank in ranks(len(ranked)).items()
        ]
        if chosen:
            drawn.append(Gallery(finding, len(ranked), chosen))
    return drawn


def common_scores(cases: Mapping[str, Cases]) -> pd.DataFrame:
    """Returns the IoU with the best predicted box, of the annotated boxes that all runs have.

    Returns:
        A column per run; the index has image_name, finding, x, y, w, h.
    """
    ious = {}
    for name, run in cases.items():
        boxes = pd.MultiIndex.from_frame(run.annotated.loc[:, _BOX])
        iou = best_overlaps(run.annotated, run.predicted)["IoU"].set_axis(boxes)
        ious[name] = iou[~boxes.duplicated()]
    return pd.concat(ious, axis=1, join="inner")


def ranks(count: int) -> dict[int, str]:
    """Returns the places of the best, the median and the worst of `count` ascending scores.

    The lower one of two medians; none of them twice.
    """
    if not count:
        return {}
    return {count - 1: "Best"} | {
        place: rank
        for place, rank in {(count - 1) // 2: "Median", 0: "Worst"}.items()
        if place < count - 1
    }


def _draw(rank: str, ious: pd.Series, cases: Mapping[str, Cases]) -> ChosenCase:
    box = pd.Series(cast(tuple, ious.name), _BOX)
    return ChosenCase(
        rank,
        image_name=str(box["image_name"]),
        iou=float(ious.mean()),
        plain=_overlay(next(iter(cases.values())), box, plain=True),
        pictures={run: _overlay(some, box) for run, some in cases.items()},
        ious=ious.to_dict(),
    )


def _overlay(cases: Cases, chosen: pd.Series, plain: bool = False) -> np.ndarray:
    """Draws a case of a run; if `plain`, without heat map and predicted boxes."""
    row = np.flatnonzero((cases.annotated.loc[:, _BOX] == chosen[_BOX]).all(axis=1))[0]
    pixels, grid = cases.original(row)
    radiograph = Image.fromarray(pixels)
    radiograph.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return overlay(
        np.asarray(radiograph),
        None if plain else cases.heatmaps[row],
        _boxes_of(cases.annotated, chosen),
        np.zeros((0, 4)) if plain else _boxes_of(cases.predicted, chosen),
        cases.png_size[cases.case_image[row]],
        grid,
    )


def _boxes_of(boxes: pd.DataFrame, chosen: pd.Series) -> np.ndarray:
    same = (boxes["image_name"] == chosen["image_name"]) & (boxes["finding"] == chosen["finding"])
    return corners(boxes.loc[same])
