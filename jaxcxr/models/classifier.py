"""A backbone and a head make a classifier; a dict describes it."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import jax
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.densenet import DenseNet121
from jaxcxr.models.heads import (
    AttentionGated,
    Baseline,
    Head,
    Prediction,
    SpaceAttention,
    SqueezeExcitation,
)
from jaxcxr.models.normalization import INFERENCE, Mode
from jaxcxr.models.resnet import ResNet18, ResNet34, ResNet50

BACKBONES: dict[str, type[nn.Module]] = {
    module.__name__: module for module in (ResNet18, ResNet34, ResNet50, DenseNet121)
}
HEADS: dict[str, type[Head]] = {
    module.__name__: module
    for module in (Baseline, SpaceAttention, AttentionGated, SqueezeExcitation)
}

_Part = TypeVar("_Part", bound=nn.Module)
_LINEN_FIELDS = ("parent", "name")


class Classifier(nn.Module):
    """A backbone's feature maps read by a head: ``Classifier(ResNet34(), Baseline())``.

    Its variables are ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``.

    Attributes:
        backbone: One of `BACKBONES`.
        head: One of `HEADS`.

    Raises:
        UserError: A field of the backbone or the head has a value that it does not know.
    """

    backbone: nn.Module
    head: Head

    def __post_init__(self) -> None:
        _check_choices(self.backbone)
        _check_choices(self.head)
        super().__post_init__()

    def __call__(self, images: jax.Array, mode: Mode = INFERENCE) -> Prediction:
        """Classifies normalized images (B, H, W, 3), as `preprocessing.normalize` returns them."""
        return self.head(self.backbone(images, mode, self.head.link), mode)


def build_classifier(config: Mapping[str, Any]) -> Classifier:
    """Builds the classifier that a config describes.

    Args:
        config: ``{"backbone": {"name": "ResNet34", **fields}, "head": {"name": "Baseline",
            **fields}}``; fields that are left out keep their defaults.

    Raises:
        UserError: A name, a field or a field's value is unknown; the message lists the choices.
    """
    return Classifier(
        _build("backbone", config.get("backbone", {}), BACKBONES),
        _build("head", config.get("head", {}), HEADS),
    )


def classifier_config(model: Classifier) -> dict[str, dict[str, Any]]:
    """Returns the config from which `build_classifier` builds `model` again."""
    return {"backbone": part_config(model.backbone), "head": part_config(model.head)}


def part_config(module: nn.Module) -> dict[str, Any]:
    """Returns the name and the fields of a backbone or head, as configs hold them."""
    return {"name": type(module).__name__} | {
        name: getattr(module, name) for name in _field_names(type(module))
    }


def _build(role: str, config: Mapping[str, Any], choices: Mapping[str, type[_Part]]) -> _Part:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
    }
    name = fields.pop("name", None)
    if name not in choices:
        raise UserError(f"model.{role}.name is {name!r}: use one of {', '.join(choices)}")
    known = _field_names(choices[name])
    for key in fields:
        if key not in known:
            raise UserError(f"model.{role}.{key} is no field of {name}: use {', '.join(known)}")
    return choices[name](**fields)


def _field_names(module: type[nn.Module]) -> list[str]:
    return [f.name for f in dataclasses.fields(module) if f.name not in _LINEN_FIELDS]


@functools.cache
def _choices(module: type[nn.Module]) -> dict[str, tuple[Any, ...]]:
    hints = typing.get_type_hints(module)
    return {
        name: typing.get_args(hints[name])
        for name in _field_names(module)
        if typing.get_origin(hints[name]) is Literal
    }


def _check_choices(module: nn.Module) -> None:
    for name, choices in _choices(type(module)).items():
        if (value := getattr(module, name)) not in choices:
            raise UserError(
                f"{type(module).__name__}.{name} is {value!r}: use one of "
                + ", ".join(map(repr, choices))
            )
