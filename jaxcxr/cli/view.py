"""Opens a page in the browser that shows radiographs with a model's findings, heat maps and boxes.

    jaxcxr view --model runs/baseline
    jaxcxr view --model runs/baseline --model models/other
    jaxcxr view --model runs/baseline --data_dir DIR
    jaxcxr view --model runs/baseline --release DIR

--model names a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, a name of the
catalog (docs/models.md; the default is its first), or a PyTorch file; two are shown side by side.
Drop PNG, JPEG, TIFF, BMP or DICOM files (pip install 'jaxcxr[dicom]') on the page.

With --data_dir, where jaxcxr prepare wrote, the page also lists the test radiographs that
jaxcxr evaluate_auc predicted, with the boxes of jaxcxr evaluate_boxes, by finding, outcome, view,
sex and age. The address of the page is a link to what it shows. --release shows them at full size,
from the unpacked files of the release.

Heat maps and boxes start as --heatmap, --flip, --threshold and the like ask for, or as the model's
box_rule.csv has it. The page is served on 127.0.0.1 alone and asks no other machine for anything;
what is uploaded is removed when the program ends. Needs Gradio: pip install 'jaxcxr[viewer]'.
"""

from __future__ import annotations

# isort: split
import functools
import logging
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jaxcxr.cli import box_flags, models
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.errors import UserError
from jaxcxr.reporting.gallery import VIEWER_PORT

if TYPE_CHECKING:
    from jaxcxr.inference.heatmaps import PredictFn
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.viewer.cases import Maps, ViewedModel

_MODELS = flags.DEFINE_multi_string(
    "model", None, "Trained model; name two to compare them side by side."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where jaxcxr prepare wrote.")
_RELEASE = flags.DEFINE_string(
    "release", None, "Release, whose files are shown at their full size."
)
flags.mark_flags_as_mutual_exclusive(["data_dir", "release"])
_PORT = flags.DEFINE_integer(
    "port", VIEWER_PORT, "Port on 127.0.0.1; 0 takes a free one.", 0, 65535
)
_BROWSER = flags.DEFINE_bool("browser", True, "Open the page in the browser.")
flags.adopt_module_key_flags(box_flags)
define_import_flag()
flags.register_validator(
    "model", lambda names: names is None or len(names) <= 2, message="one or two models are shown"
)

_SOURCES = {
    "network": "Network",
    "grad_cam": "Grad-CAM",
    "grad_cam++": "Grad-CAM++",
    "layer_cam": "LayerCAM",
}
"""Heat maps, and what the page calls them."""


def main() -> None:
    """Serves the page until the process is stopped."""
    if find_spec("gradio") is None:
        raise UserError("the viewer needs Gradio; pip install 'jaxcxr[viewer]'")
    from jaxcxr.inference.predictor import load_model
    from jaxcxr.models.weights import catalog
    from jaxcxr.viewer.scored_split import ScoredSplit
    from jaxcxr.viewer.server import private_folder, serve

    logging.getLogger("pydicom").setLevel(logging.ERROR)  # its remarks on files that it reads
    named = _MODELS.value or [catalog.default()]
    predictors, splits = [], []
    for predictor in map(load_model, named):
        if _DATA_DIR.value:
            resized, prepared = models.prepared_data(predictor, _DATA_DIR.value)
            splits.append(ScoredSplit.read(resized, prepared.test))
            predictor = resized
        elif _RELEASE.value:
            splits.append(ScoredSplit.read(predictor, Path(_RELEASE.value).expanduser()))
        predictors.append(predictor)
    viewed = [viewed_model(*one) for one in zip(short_names(named), predictors, strict=True)]
    try:
        with private_folder():
            from jaxcxr.viewer import page  # imports Gradio

            built = page.build(viewed, splits)
            for model in viewed:
                model.warm_up()
            serve(built, _PORT.value, _BROWSER.value, theme=page.theme(), css=page.CSS)
    except SystemExit as stop:
        os._exit(int(stop.code or 0))  # an orderly end aborts where a prediction is under way


def short_names(named: list[str]) -> list[str]:
    """Returns the models' last names, or their full ones where these coincide."""
    names = [Path(name).name or name for name in named]
    return [
        full if Counter(names)[name] > 1 else name for name, full in zip(names, named, strict=True)
    ]


def viewed_model(name: str, predictor: Predictor) -> ViewedModel:
    """Returns a model with the heat maps that the page offers and the rule for boxes."""
    from jaxcxr.viewer.cases import Maps, ViewedModel

    asked, (rule, *_) = box_flags.maps_and_rule(predictor)
    choices = {
        _SOURCES[source]: box_flags.HeatMapChoice(source)
        for source in ("network", "grad_cam", "layer_cam")
    }
    choices[_SOURCES[asked.source]] = asked

    @functools.cache
    def predict_fn(maps: Maps) -> PredictFn:
        return choices[maps.source]._replace(flip=maps.flip).predict_fn(predictor)

    shown = Maps(_SOURCES[asked.source], asked.flip)
    return ViewedModel(name, predictor, tuple(choices), shown, rule, predict_fn)
