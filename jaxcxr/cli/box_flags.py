"""Flags of the programs that draw boxes: which heat maps, and how they become boxes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple, cast, get_args

from absl import flags

from jaxcxr.errors import UserError
from jaxcxr.evaluation.box_tuning import ChosenRule, read_box_rule
from jaxcxr.evaluation.boxes import BoxRule, Cut, RegionChoice, Scale
from jaxcxr.inference.heatmaps import PredictFn, flip_averaged, size_averaged

if TYPE_CHECKING:
    from jaxcxr.inference.predictor import Predictor

_SOURCES = ["network", "grad_cam", "grad_cam++", "layer_cam"]

_HEATMAP = flags.DEFINE_enum(
    "heatmap",
    None,
    _SOURCES,
    "Where heat maps come from. Default: as the model's box_rule.csv has it, else the network.",
)
_STAGES = flags.DEFINE_multi_integer(
    "stage",
    None,
    "Of Grad-CAM and LayerCAM: the backbone's, from 1; else the last. LayerCAM takes several: "
    "--stage=3 --stage=4.",
)
_FLIP = flags.DEFINE_bool(
    "flip", None, "Average with the mirror image. Default: as --heatmap's, else no."
)
_SIZE_FACTORS = flags.DEFINE_multi_float(
    "size_factor",
    None,
    "Average over radiographs resized by each: --size_factor=1 --size_factor=1.25. Default: as "
    "--heatmap's, else the network's own size.",
    lower_bound=0.25,
    upper_bound=4,
)
_THRESHOLDS = flags.DEFINE_list(
    "threshold",
    None,
    "Where heat maps of 0..255 are cut, or otsu; several give boxes at each. Default: as "
    "the model's box_rule.csv has it, else 180.",
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


class HeatMapChoice(NamedTuple):
    """Which heat maps boxes are drawn from, as box_rule.csv names them."""

    source: str = "network"
    stages: tuple[int, ...] = ()
    flip: bool = False
    size_factors: tuple[float, ...] = ()

    def __str__(self) -> str:
        stages = [f"stage {stage}" for stage in self.stages]
        sizes = [f"size {factor:g}" for factor in self.size_factors]
        return ", ".join([self.source, *stages, *(["flip"] if self.flip else []), *sizes])

    @classmethod
    def parse(cls, text: str) -> HeatMapChoice:
        """Returns the choice that `str` gives this text.

        Raises:
            ValueError: None does.
        """
        source, *rest = text.split(", ")
        stages = [int(word[6:]) for word in rest if word.startswith("stage ")]
        sizes = [float(word[5:]) for word in rest if word.startswith("size ")]
        choice = cls(source, tuple(stages), "flip" in rest, tuple(sizes))
        if source not in _SOURCES or str(choice) != text:
            raise ValueError(f"{text!r} are not heat maps")
        return choice

    def predict_fn(self, predictor: Predictor) -> PredictFn:
        """Returns a `jaxcxr.Predictor` with these heat maps and its own probabilities.

        Operating points and calibration are those of its own, not of averaged ones.

        Raises:
            UserError: A stage is given that these heat maps do not have.
        """
        from jaxcxr.inference import gradcam  # imports JAX, which scoring a file does without

        if self.stages and self.source == "network":
            raise UserError("--stage is of Grad-CAM and LayerCAM; give --heatmap=layer_cam, too")
        if len(self.stages) > 1 and self.source != "layer_cam":
            raise UserError(
                f"--heatmap={self.source} takes one stage; give --heatmap=layer_cam for several"
            )
        if self.size_factors:
            one_size = self._replace(size_factors=())
            sizes = [round(factor * predictor.image_size) for factor in self.size_factors]
            resized = {size: dataclasses.replace(predictor, image_size=size) for size in sizes}
            averaged = size_averaged({size: one_size.predict_fn(resized[size]) for size in sizes})
            return lambda images: (predictor(images)[0], averaged(images)[1])
        predict: PredictFn = predictor
        if self.source == "layer_cam":
            predict = gradcam.layer_cam(predictor, self.stages)
        elif self.source != "network":
            explain = gradcam.grad_cam if self.source == "grad_cam" else gradcam.grad_cam_plus_plus
            predict = explain(predictor, self.stages[0] if self.stages else None)
        if not self.flip:
            return predict
        both = flip_averaged(predict)
        return lambda images: (predictor(images)[0], both(images)[1])

    def scales(self, predictor: Predictor) -> list[Scale]:
        """Returns the scales that can be chosen for these heat maps."""
        if _SCALE.value:
            return [cast(Scale, _SCALE.value)]
        are_probabilities = self.source == "network" and predictor.model.heatmaps_are_probabilities
        return ["range", "peak", *(["probability"] if are_probabilities else [])]


def asked_for() -> HeatMapChoice:
    """Returns the heat maps that the flags ask for."""
    stages, sizes = tuple(_STAGES.value or ()), tuple(_SIZE_FACTORS.value or ())
    return HeatMapChoice(_HEATMAP.value or "network", stages, bool(_FLIP.value), sizes)


def maps_and_rule(predictor: Predictor) -> tuple[HeatMapChoice, ChosenRule]:
    """Returns the heat maps and the rule by which boxes are drawn.

    The flags decide; without any of them box_rule.csv of the model, without that the network's heat
    maps and the paper's rule. Prints what is used where there is a choice.
    """
    path, maps = predictor.folder and predictor.folder / "box_rule.csv", asked_for()
    regions, min_area = cast(RegionChoice, _REGIONS.value), _MIN_AREA.value
    if _THRESHOLDS.value is None and _SCALE.value is None and path and path.exists():
        chosen = read_box_rule(path)
        if all(flag.value is None for flag in (_HEATMAP, _STAGES, _FLIP, _SIZE_FACTORS)):
            try:
                maps = HeatMapChoice.parse(chosen.heatmap)
            except ValueError as error:
                raise UserError(f"{path}: {error}; run tune_boxes again") from error
        if chosen.heatmap == str(maps):
            print(f"boxes are drawn by {path}: {maps}; {rule_text(chosen.rule)}")
            rule = dataclasses.replace(chosen.rule, regions=regions, min_area=min_area)
            return maps, chosen._replace(rule=rule)
        print(
            f"note: {path} is for other heat maps ({chosen.heatmap}; here: {maps}): boxes are "
            "drawn by the paper's rule"
        )
    cuts = _cuts(_THRESHOLDS.value or ["180"])
    rule = BoxRule(cast(Scale, _SCALE.value or "range"), cuts, {}, regions, min_area)
    return maps, ChosenRule(rule, str(maps), "")


def rule_text(rule: BoxRule) -> str:
    """Describes scale, cuts and regions in words."""
    cuts = rule.by_finding.values() or rule.cuts
    shown = sorted({cut if isinstance(cut, str) else f"{cut:.2g}" for cut in cuts})
    regions = ", all regions" if rule.regions == "all" else ""
    return f"scale {rule.scale}, cut at {', '.join(shown)}{regions}"
