"""Converts weights between PyTorch and this package.

    python launch/convert_weights.py --source resnet34.pth --model ResNet34 --out weights/resnet34
    python launch/convert_weights.py --source unified_net.pt --model baseline --out weights/authors
    python launch/convert_weights.py --source runs/baseline --to torch --out baseline.safetensors

The first two write a folder with config.json and the weights (an Orbax checkpoint); the source is
a backbone with torchvision's names, or the authors' checkpoint of one of their four networks. The
last reads such a folder or a run (its best epoch) and writes a state dict, the backbone under
torchvision's names and the head under `head.`.
"""

from __future__ import annotations

# isort: split
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from absl import flags

from jaxcxr.errors import UserError
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import BACKBONES, build_classifier, classifier_config
from jaxcxr.models.registry import part_config
from jaxcxr.models.weights.pretrained import Variables, load_backbone, load_classifier, to_torch
from jaxcxr.models.weights.torch_files import write_torch_file
from jaxcxr.models.weights.weight_folder import load_weight_folder, save_weight_folder

AUTHORS_HEADS: dict[str, dict[str, Any]] = {
    "baseline": {"name": "Baseline"},
    "space_attention": {"name": "SpaceAttention", "window": 7},
    "attention_gated": {"name": "AttentionGated"},
    "squeeze_excitation": {"name": "SqueezeExcitation", "window": 7},
}

_SOURCE = flags.DEFINE_string("source", None, "What to convert: a file or a folder.", required=True)
_MODEL = flags.DEFINE_enum(
    "model", None, [*BACKBONES, *AUTHORS_HEADS], "The network that a file of PyTorch's is of."
)
_HEAD = flags.DEFINE_multi_string(
    "head", [], "What is different in the authors' head: pooling=average, aggregation=ft …"
)
_OUT = flags.DEFINE_string("out", None, "The new folder, or the file to write.", required=True)
_TO = flags.DEFINE_enum("to", "jax", ["jax", "torch"], "Which side to convert to.")


def main() -> None:
    """Converts in the direction asked for."""
    if _TO.value == "torch":
        config, variables = _trained(Path(_SOURCE.value))
        write_torch_file(_OUT.value, to_torch(variables, config["backbone"]["name"]))
    elif _MODEL.value in BACKBONES:
        backbone = BACKBONES[_MODEL.value]()
        loaded = load_backbone(_SOURCE.value, backbone)
        variables = {name: {"backbone": part} for name, part in loaded.items()}
        save_weight_folder(_OUT.value, {"backbone": part_config(backbone)}, variables)
    elif _MODEL.value in AUTHORS_HEADS:
        head = AUTHORS_HEADS[_MODEL.value] | _fields(_HEAD.value)
        model = build_classifier({"backbone": {"name": "ResNet34"}, "head": head})
        variables = load_classifier(_SOURCE.value, model)
        if "head" not in variables["params"]:
            raise UserError(f"{_SOURCE.value} holds a backbone alone: use --model=ResNet34")
        save_weight_folder(_OUT.value, classifier_config(model), variables)
    else:
        raise UserError("--model is missing: name the network that the file is of")
    print(_OUT.value)


def _fields(settings: Iterable[str]) -> dict[str, Any]:
    fields = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--head={setting} says no value: write --head=field=value")
        try:
            fields[name] = json.loads(value)
        except json.JSONDecodeError:
            fields[name] = value
    return fields


def _trained(source: Path) -> tuple[dict[str, Any], Variables]:
    """Returns config and variables of a folder of weights, or of a run's best epoch."""
    if (source / "weights").is_dir():
        return load_weight_folder(source)
    predictor = Predictor.from_run(source)
    return classifier_config(predictor.model), predictor.variables
