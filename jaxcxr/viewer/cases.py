"""Radiographs that a page shows, each with the prediction of every model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import BoxRule, enlarge, otsu_threshold, scale_heatmap
from jaxcxr.evaluation.outcome import corners
from jaxcxr.findings import match_finding
from jaxcxr.images.radiograph import DamagedImageError, Radiograph
from jaxcxr.images.square import make_square
from jaxcxr.inference.heatmaps import PredictFn
from jaxcxr.inference.prediction import PredictionResult, Prepared, predict_batch, prepare
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models.weights.model_card import SYNTHETIC
from jaxcxr.reporting.overlays import overlay

REACHED = "▲"
"""Marks a probability at or above its operating point."""

_LONGEST_SIDE = 1024
"""Of a drawn radiograph, in pixels."""


class Maps(NamedTuple):
    """Which heat maps are shown.

    Attributes:
        source: A name of `ViewedModel.sources`.
        flip: Whether they, and the probabilities, are averaged with those of the mirror image.
    """

    source: str
    flip: bool


@dataclasses.dataclass(frozen=True, eq=False)
class ViewedModel:
    """A model of the page.

    Attributes:
        name: What the page calls it.
        predictor: The model.
        sources: Names of the heat maps that it can show.
        maps: The heat maps that are shown first, and that `rule` is for.
        rule: How these become boxes; the boxes of others follow the paper's rule.
        predict_fn: Returns the model with such heat maps.
    """

    name: str
    predictor: Predictor
    sources: tuple[str, ...]
    maps: Maps
    rule: BoxRule
    predict_fn: Callable[[Maps], PredictFn]

    def rule_of(self, finding: str, maps: Maps) -> BoxRule:
        """Returns the rule by which the boxes of a finding are drawn."""
        return (self.rule if maps == self.maps else BoxRule()).of(finding)

    def predict(self, prepared: Prepared, maps: Maps) -> PredictionResult:
        """Predicts a radiograph."""
        (result,) = predict_batch(self.predict_fn(maps), [prepared], 1)
        findings, points = self.predictor.named_findings, self.predictor.operating_points
        return dataclasses.replace(result, findings=findings, points=points)

    def warm_up(self) -> None:
        """Compiles the network, so that the first radiograph takes no longer than others."""
        size = self.predictor.image_size
        black = np.zeros((size, size), np.uint8)
        square = make_square(black, size, self.predictor.square)
        self.predict(Prepared("", Radiograph(Path(), "PNG", black), *square), self.maps)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A radiograph and what the models predict of it.

    Attributes:
        name: Its name on the page.
        source: Its file, or its name in the dataset.
        prepared: As each model takes it.
        maps: Whose heat maps `predictions` has.
        predictions: Of each model.
        annotated: Annotated boxes: finding, x, y, w, h in pixels of the radiograph.
    """

    name: str
    source: str
    prepared: tuple[Prepared, ...]
    maps: Maps
    predictions: tuple[PredictionResult, ...]
    annotated: pd.DataFrame

    @classmethod
    def predict(
        cls,
        models: Sequence[ViewedModel],
        name: str,
        source: str,
        prepared: Sequence[Prepared],
        maps: Maps,
        annotated: pd.DataFrame | None = None,
    ) -> Case:
        """Predicts a radiograph with every model."""
        predictions = tuple(
            model.predict(one, maps) for model, one in zip(models, prepared, strict=True)
        )
        boxes = pd.DataFrame(columns=["finding", *"xywh"]) if annotated is None else annotated
        return cls(name, source, tuple(prepared), maps, predictions, boxes)

    def with_maps(self, models: Sequence[ViewedModel], maps: Maps) -> Case:
        """Returns the case with other heat maps."""
        if maps == self.maps:
            return self
        return self.predict(models, self.name, self.source, self.prepared, maps, self.annotated)


class Display(NamedTuple):
    """How a radiograph is drawn.

    Attributes:
        opacity: Of the greatest heat, 0 to 1; 0 hides the heat map.
        window: Width of the range of gray values that spans black to white, 1 to 255.
        level: Center of that range.
        above_cut: Whether heat is shown only where it is above the cut.
    """

    opacity: float = 0.5
    window: float = 255
    level: float = 127.5
    above_cut: bool = False


def read_case(models: Sequence[ViewedModel], path: Path, name: str, maps: Maps) -> Case | UserError:
    """Reads and predicts a file; returns the error of one that cannot be used."""
    try:
        prepared = [
            prepare(name, path, model.predictor.image_size, model.predictor.square)
            for model in models
        ]
    except DamagedImageError as error:
        return UserError(f"{name}: {error.reason}")
    return Case.predict(models, name, str(path), prepared, maps)


def finding_rows(prediction: PredictionResult) -> pd.DataFrame:
    """Returns the table that the page shows, as text, the most probable finding first."""
    table = prediction.table()
    reached = table["probability"] >= table["operating_point"]
    columns = {
        "Finding": table.index.str.replace("_", " "),
        "Probability": [
            f"{probability:.3f} {REACHED if at_least else ''}".rstrip()
            for probability, at_least in zip(table["probability"], reached, strict=True)
        ],
        "Operating point": table["operating_point"].map(number),
        "Calibrated": table["calibrated_probability"].map(number),
    }
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def number(value: float) -> str:
    """Returns a number with three decimals, a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def own_name(finding: str, prediction: PredictionResult) -> str | None:
    """Returns what a model calls a finding; None where it does not predict it."""
    try:
        return match_finding(finding, prediction.findings)
    except KeyError:
        return None


def first_cut(model: ViewedModel, case: Case, prediction: PredictionResult, finding: str) -> float:
    """Returns where a heat map is cut as long as nobody moves the cut, 0 to below 1."""
    rule = model.rule_of(finding, case.maps)
    if rule.cuts[0] != "otsu":
        return rule.cuts[0]
    values = prediction.heatmaps[..., prediction.findings.index(finding)]
    height, width = prediction.radiograph.pixels.shape
    heat = scale_heatmap(enlarge(values, width, height, prediction.original_grid), rule.scale)
    return otsu_threshold(heat)


def boxes_at(
    model: ViewedModel, case: Case, prediction: PredictionResult, finding: str, cut: float
) -> pd.DataFrame:
    """Returns the boxes of a finding at a cut; see `PredictionResult.boxes`."""
    rule = model.rule_of(finding, case.maps)
    return prediction.boxes([finding], dataclasses.replace(rule, cuts=(cut,)))


def picture(
    model: ViewedModel,
    case: Case,
    prediction: PredictionResult,
    finding: str | None,
    cut: float,
    display: Display,
) -> np.ndarray:
    """Draws a radiograph with heat map and boxes of a finding, (H, W, 3) uint8.

    A finding of None, which the model does not predict, gives the radiograph alone.
    """
    radiograph = prediction.radiograph
    zoom = _LONGEST_SIDE / max(radiograph.width, radiograph.height)
    size = round(zoom * radiograph.width), round(zoom * radiograph.height)
    gray = Image.fromarray(radiograph.pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
    values = np.arange(256) - (display.level - display.window / 2)
    ramp = (255 * values / display.window).clip(0, 255).astype(np.uint8)
    heat, boxes, annotated = None, np.zeros((0, 4)), np.zeros((0, 4))
    if finding is not None:
        boxes = corners(boxes_at(model, case, prediction, finding, cut))
        of_finding = [own_name(name, prediction) == finding for name in case.annotated["finding"]]
        annotated = corners(case.annotated.loc[of_finding])
        if display.opacity:
            heat = prediction.heatmaps[..., prediction.findings.index(finding)]
    return overlay(
        ramp[np.asarray(gray)],
        heat,
        annotated,
        boxes,
        (radiograph.width, radiograph.height),
        prediction.original_grid,
        note=SYNTHETIC if model.predictor.synthetic else "",
        opacity=display.opacity,
        cut=cut if display.above_cut else 0,
        scale=model.rule_of(finding or "", case.maps).scale,
    )
