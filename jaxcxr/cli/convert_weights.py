"""Converts weights between PyTorch and this package.

    jaxcxr convert_weights --source resnet34.pth --model ResNet34 --out weights/resnet34
    jaxcxr convert_weights --source unified_net.pt --model baseline --out weights/authors
    jaxcxr convert_weights --source runs/baseline --to torch --out baseline.safetensors

The first two write a folder of weights: config.json, which describes the network, and
model.safetensors. The source is a backbone with torchvision's names, the same with a classifier of
the 14 findings (CheXNet), or the authors' checkpoint of one of their four networks, which is
converted to a network with their arithmetic. Predict with such a folder, or start training from it.
The last reads such a folder or a run (its best epoch) and writes a state dict, the backbone under
torchvision's names and the head under `head.`.
"""

from __future__ import annotations

# isort: split
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import Baseline, Classifier, build_classifier
from jaxcxr.models.registry import backbones
from jaxcxr.models.weights.model_folder import (
    TrainedModel,
    is_model_folder,
    save_backbone,
    save_model_folder,
)
from jaxcxr.models.weights.pretrained import ARRAYS, load_classifier, to_torch
from jaxcxr.models.weights.torch_files import read_torch_file, write_torch_file

AUTHORS_HEADS: dict[str, dict[str, Any]] = {
    "baseline": {"name": "Baseline", "lse_positions": "side"},
    "space_attention": {"name": "SpaceAttention", "window": 7},
    "attention_gated": {
        "name": "AttentionGated",
        "average": "probabilities",
        "map_sampling": "tiles",
    },
    "squeeze_excitation": {"name": "SqueezeExcitation", "window": 7, "shortcut": "authors"},
}

_SOURCE = flags.DEFINE_string("source", None, "What to convert: a file or a folder.", required=True)
_MODEL = flags.DEFINE_string(
    "model", None, f"The file's network: a backbone, or {', '.join(AUTHORS_HEADS)} (the authors')."
)
_HEAD = flags.DEFINE_multi_string(
    "head", [], "What is different in the authors' head: pooling=average, aggregation=ft …"
)
_OUT = flags.DEFINE_string("out", None, "The new folder, or the file to write.", required=True)
define_import_flag()
_TO = flags.DEFINE_enum("to", "jax", ["jax", "torch"], "Which side to convert to.")


def main() -> None:
    """Converts in the direction asked for."""
    if _TO.value == "torch":
        write_torch_file(_OUT.value, _state_dict(Path(_SOURCE.value)))
    elif _MODEL.value in AUTHORS_HEADS:
        head = AUTHORS_HEADS[_MODEL.value] | _fields(_HEAD.value)
        model = build_classifier({"backbone": {"name": "ResNet34"}, "head": head})
        variables = load_classifier(_SOURCE.value, model)
        if "head" not in variables["params"]:
            raise UserError(f"{_SOURCE.value} holds a backbone alone: use --model=ResNet34")
        save_model_folder(_OUT.value, TrainedModel(model, variables))
    elif _MODEL.value and _MODEL.value in backbones():
        _convert_backbone(_SOURCE.value, _MODEL.value, _OUT.value)
    else:
        choices = ", ".join([*backbones(), *AUTHORS_HEADS])
        raise UserError(
            f"--model is {_MODEL.value or 'missing'}: name the file's network, {choices}"
        )
    print(_OUT.value)


def _convert_backbone(source: str, name: str, out: str) -> None:
    """Converts a backbone, and the classifier of the 14 findings where the file holds one."""
    model = Classifier(backbones()[name](), Baseline(pooling="average", transition="none"))
    variables = load_classifier(source, model)
    if "head" in variables["params"]:
        return save_model_folder(out, TrainedModel(model, variables))
    classifier = {
        key: array.shape
        for key, array in read_torch_file(source).items()
        if re.search(r"(^|\.)(fc|classifier)\.", key)
    }
    if classifier:
        shapes = ", ".join(f"{key} {shape}" for key, shape in classifier.items())
        print(f"left out, not a classifier of the {len(FINDINGS)} findings: {shapes}")
    return save_backbone(out, model.backbone, variables)


def _fields(settings: Iterable[str]) -> dict[str, Any]:
    fields = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--head={setting} has no value: write --head=field=value")
        try:
            fields[name] = json.loads(value)
        except json.JSONDecodeError:
            fields[name] = value
    return fields


def _state_dict(source: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a folder of weights, or of a run's best epoch, as PyTorch has them."""
    if is_model_folder(source):
        return read_torch_file(source / ARRAYS)
    predictor = Predictor.from_run(source)
    return to_torch(predictor.variables, type(predictor.model.backbone).__name__)
