"""Flags of the programs that draw boxes: which heat maps, and how they become boxes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from absl import flags

from jaxcxr.errors import UserError
from jaxcxr.evaluation.box_tuning import ChosenRule, read_box_rule
from jaxcxr.evaluation.boxes import BoxRule, Cut, RegionChoice, Scale
from jaxcxr.inference.heatmaps import PredictFn, flip_averaged

if TYPE_CHECKING:
    from jaxcxr.inference.predictor import Predictor

_HEATMAP = flags.DEFINE_enum(
    "heatmap",
    "network",
    ["network", "grad_cam", "grad_cam++", "layer_cam"],
    "Where heat maps come from.",
)
_STAGES = flags.DEFINE_multi_integer(
    "stage",
    None,
    "Of Grad-CAM and LayerCAM: the backbone's, from 1; else the last. LayerCAM takes several: "
    "--stage=3 --stage=4.",
)
_FLIP = flags.DEFINE_bool("flip", False, "Average with the mirror image.")
_THRESHOLDS = flags.DEFINE_list(
    "threshold",
    None,
    "Where heat maps of 0..255 are cut, or otsu; several give boxes at each. Default: as "
    "box_rule.csv of the run has it, else 180.",
)
_SCALE = flags.DEFINE_enum(
    "scale",
    None,
    get_args(Scale),
    "What 0 and 255 stand for: the least and greatest heat of each map, 0 and 1 of maps of "
    "probabilities, or nothing and the greatest heat. Default: as box_rule.csv has it, else range.",
)
_REGIONS = flags.DEFINE_enum("regions", "largest", ["largest", "all"], "Which hot regions count.")
_MIN_AREA = flags.DEFINE_float("min_area", 0, "Pixels that a hot region must have.", 0)


@flags.validator("threshold", message="expected numbers from 0 to below 255, like 60,180, or otsu")
def _are_thresholds(texts: list[str] | None) -> bool:
    try:
        return texts is None or bool(BoxRule(cuts=_cuts(texts)))
    except (ValueError, UserError):
        return False


def _cuts(texts: list[str]) -> tuple[Cut, ...]:
    cuts: list[Cut] = ["otsu" if text == "otsu" else float(text) / 255 for text in texts]
    return tuple(cuts)


def heatmap_name() -> str:
    """Returns which heat maps the flags ask for, in words."""
    stages = [f"stage {stage}" for stage in _STAGES.value or ()]
    return ", ".join([_HEATMAP.value, *stages, *(["flip"] if _FLIP.value else [])])


def predict_fn(predictor: Predictor) -> PredictFn:
    """Returns a `jaxcxr.Predictor` with the heat maps that the flags ask for.

    Raises:
        UserError: A stage is given that these heat maps do not have.
    """
    from jaxcxr.inference import gradcam  # imports JAX, which scoring a file does without

    name, stages = _HEATMAP.value, _STAGES.value or []
    if stages and name == "network":
        raise UserError("--stage is of Grad-CAM; give --heatmap=grad_cam, too")
    if len(stages) > 1 and name != "layer_cam":
        raise UserError(f"--heatmap={name} takes one stage; give --heatmap=layer_cam for several")
    predict: PredictFn = predictor
    if name == "layer_cam":
        predict = gradcam.layer_cam(predictor, stages)
    elif name != "network":
        explain = gradcam.grad_cam if name == "grad_cam" else gradcam.grad_cam_plus_plus
        predict = explain(predictor, stages[0] if stages else None)
    return flip_averaged(predict) if _FLIP.value else predict


def box_rule(workdir: Path) -> ChosenRule:
    """Returns the rule of the flags, without them that of the run's box_rule.csv, or the paper's.

    Prints which one where there is a choice.
    """
    path = workdir / "box_rule.csv"
    regions, min_area = cast(RegionChoice, _REGIONS.value), _MIN_AREA.value
    if _THRESHOLDS.value is None and _SCALE.value is None and path.exists():
        chosen = read_box_rule(path)
        if chosen.heatmap == heatmap_name():
            print(f"boxes are drawn by {path}: {rule_text(chosen.rule)}")
            rule = dataclasses.replace(chosen.rule, regions=regions, min_area=min_area)
            return chosen._replace(rule=rule)
        print(
            f"note: {path} is for other heat maps ({chosen.heatmap}; here: {heatmap_name()}): "
            "boxes are drawn by the paper's rule"
        )
    cuts = _cuts(_THRESHOLDS.value or ["180"])
    rule = BoxRule(cast(Scale, _SCALE.value or "range"), cuts, {}, regions, min_area)
    return ChosenRule(rule, heatmap_name(), "")


def scales(predictor: Predictor) -> list[Scale]:
    """Returns the scales that can be chosen for the heat maps that the flags ask for."""
    if _SCALE.value:
        return [cast(Scale, _SCALE.value)]
    are_probabilities = _HEATMAP.value == "network" and predictor.model.heatmaps_are_probabilities
    return ["range", "peak", *(["probability"] if are_probabilities else [])]


def rule_text(rule: BoxRule) -> str:
    """Describes scale and cuts in words."""
    cuts = rule.by_finding.values() or rule.cuts
    shown = sorted({cut if isinstance(cut, str) else f"{cut:.2g}" for cut in cuts})
    return f"scale {rule.scale}, cut at {', '.join(shown)}"
