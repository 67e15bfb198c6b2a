"""Converts weights between PyTorch and this package.

    jaxcxr convert_weights --source model.pth.tar --out models/chexnet
    jaxcxr convert_weights --source five.ckpt --findings=Atelectasis,Edema,… --out models/five
    jaxcxr convert_weights --source unified_net.pt --model baseline --out models/authors
    jaxcxr convert_weights --source runs/baseline --to torch --out baseline.safetensors

The first three write a model folder. The source is a PyTorch file: a DenseNet or ResNet with
torchvision's names, whatever a wrapper put before them, with one dense layer (CheXNet,
TorchXRayVision, timm), with PCAM pooling (jfhealthcare) or alone; or the authors' checkpoint of one
of their four networks, which is converted to a network with their arithmetic. Predict with such a
folder, or start training from it. The last reads such a folder or a run (its best epoch) and writes
a state dict, the backbone under torchvision's names and the head under `head.`.
"""

from __future__ import annotations

# isort: split
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from absl import flags

from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.errors import UserError
from jaxcxr.images.square import SQUARE_RULES, SquareRule

_SOURCE = flags.DEFINE_string("source", None, "What to convert: a file or a folder.", required=True)
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "The file's network: a backbone, or one of the authors': baseline, space_attention, "
    "attention_gated, squeeze_excitation.",
)
_HEAD = flags.DEFINE_multi_string(
    "head", [], "What is different in the authors' head: pooling=average, aggregation=ft …"
)
_OUT = flags.DEFINE_string("out", None, "The new folder, or the file to write.", required=True)
_FINDINGS = flags.DEFINE_list(
    "findings", [], "The file's outputs in their order; - for one that was not trained."
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "Pixels of the network's input; or 224.")
_PIXEL_MEAN = flags.DEFINE_list("pixel_mean", [], "Of gray values from 0 to 1, a channel each.")
_PIXEL_STD = flags.DEFINE_list("pixel_std", [], "What they are divided by, a channel each.")
_SQUARE = flags.DEFINE_enum("square", None, SQUARE_RULES, "How radiographs become square.")
define_import_flag()
_TO = flags.DEFINE_enum("to", "jax", ["jax", "torch"], "Which side to convert to.")


def main() -> None:
    """Converts in the direction asked for."""
    from jaxcxr.models.registry import backbones
    from jaxcxr.models.weights.foreign import AUTHORS_HEADS
    from jaxcxr.models.weights.torch_files import write_torch_file

    if _TO.value == "torch":
        write_torch_file(_OUT.value, _state_dict(Path(_SOURCE.value)))
    elif _MODEL.value in (None, *backbones(), *AUTHORS_HEADS):
        _convert_foreign()
    else:
        choices = ", ".join([*backbones(), *AUTHORS_HEADS])
        raise UserError(f"--model is {_MODEL.value}: name the file's network, {choices}")
    print(_OUT.value)


def _convert_foreign() -> None:
    """Converts a network that its file shows, and prints what the file does not show."""
    from jaxcxr.models import Pixels
    from jaxcxr.models.weights.foreign import AUTHORS_HEADS, operating_points, read_foreign
    from jaxcxr.models.weights.model_folder import save_backbone, save_model_folder

    authors = _MODEL.value if _MODEL.value in AUTHORS_HEADS else None
    found = read_foreign(_SOURCE.value, authors=authors, fields=_fields(_HEAD.value))
    name = type(found.backbone).__name__
    held = [None, name, authors if found.head else ""]
    if _MODEL.value not in held:
        alone = "" if found.head else " alone"
        raise UserError(
            f"{_SOURCE.value} holds a {name}{alone}, not a {_MODEL.value}: leave out --model"
        )
    if found.head is None:
        save_backbone(_OUT.value, found.backbone, found.variables)
        return
    pixels = None
    if _PIXEL_MEAN.value or _PIXEL_STD.value:
        pixels = Pixels(tuple(map(float, _PIXEL_MEAN.value)), tuple(map(float, _PIXEL_STD.value)))
    trained = found.described(
        findings=[None if name == "-" else name for name in _FINDINGS.value],
        image_size=_IMAGE_SIZE.value,
        pixels=pixels,
        square=cast(SquareRule | None, _SQUARE.value),
        source={"name": Path(_SOURCE.value).name},
    )
    points = operating_points(trained.findings, found.thresholds)
    save_model_folder(_OUT.value, trained, points)
    scale = trained.model.pixels
    print(
        f"{name} of {scale.channels} channel(s), {trained.image_size} pixels, square by "
        f"{trained.square}, gray values as (gray / 255 - {scale.mean}) / {scale.std}; outputs: "
        f"{', '.join(name or '-' for name in trained.findings)}. Flags change these"
    )


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
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.models.weights.model_folder import is_model_folder
    from jaxcxr.models.weights.pretrained import ARRAYS, to_torch
    from jaxcxr.models.weights.torch_files import read_torch_file

    if is_model_folder(source):
        return read_torch_file(source / ARRAYS)
    predictor = Predictor.from_run(source)
    return to_torch(predictor.variables, type(predictor.model.backbone).__name__)
