"""A network as a dict, the way configs and config.json hold it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.backbones.densenet import DenseNet121
from jaxcxr.models.backbones.resnet import ResNet18, ResNet34, ResNet50
from jaxcxr.models.classifier import Classifier, field_names
from jaxcxr.models.heads import AttentionGated, Baseline, Head, SpaceAttention, SqueezeExcitation
from jaxcxr.models.multi_size import MultiSize

BACKBONES: dict[str, type[nn.Module]] = {
    module.__name__: module for module in (ResNet18, ResNet34, ResNet50, DenseNet121)
}
HEADS: dict[str, type[Head]] = {
    module.__name__: module
    for module in (Baseline, SpaceAttention, AttentionGated, SqueezeExcitation)
}

_Part = TypeVar("_Part", bound=nn.Module)


def build_classifier(config: Mapping[str, Any]) -> Classifier:
    """Builds the classifier that a config describes.

    Args:
        config: ``{"backbone": {"name": "ResNet34", **fields}, "head": {"name": "Baseline",
            **fields}}``; fields that are left out, or None, keep their
            defaults. ``"sizes": (128, 256)``
            makes it a `MultiSize`.

    Raises:
        UserError: A name, a field or a field's value is unknown; the message lists the choices.
    """
    for name in config:
        if name not in ("backbone", "head", "sizes"):
            raise UserError(f"model.{name} is no part of a network: use backbone, head, sizes")
    backbone = _build("backbone", config.get("backbone", {}), BACKBONES)
    head = _build("head", config.get("head", {}), HEADS)
    if sizes := config.get("sizes"):
        return MultiSize(backbone, head, tuple(sizes))
    return Classifier(backbone, head)


def classifier_config(model: Classifier) -> dict[str, Any]:
    """Returns the config from which `build_classifier` builds `model` again."""
    sizes = {"sizes": model.sizes} if isinstance(model, MultiSize) else {}
    return {"backbone": part_config(model.backbone), "head": part_config(model.head), **sizes}


def part_config(module: nn.Module) -> dict[str, Any]:
    """Returns the name and the fields of a backbone or head, as configs hold them."""
    return {"name": type(module).__name__} | {
        name: getattr(module, name) for name in field_names(type(module))
    }


def _build(role: str, config: Mapping[str, Any], choices: Mapping[str, type[_Part]]) -> _Part:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config.items()
        if value is not None
    }
    name = fields.pop("name", None)
    if name not in choices:
        raise UserError(f"model.{role}.name is {name!r}: use one of {', '.join(choices)}")
    known = field_names(choices[name])
    for key in fields:
        if key not in known:
            raise UserError(f"model.{role}.{key} is no field of {name}: use {', '.join(known)}")
    return choices[name](**fields)
