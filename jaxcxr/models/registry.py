"""The networks known by name, and a network as a dict, the way configs and config.json hold it.

Backbones and heads of one's own join with `register_backbone` and `register_head`; see
docs/extending.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.backbones.densenet import DenseNet121
from jaxcxr.models.backbones.resnet import ResNet18, ResNet34, ResNet50
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.fields import check_fields, field_types, fits
from jaxcxr.models.heads import (
    PCAM,
    AttentionGated,
    Baseline,
    Head,
    LogSumExp,
    Pylon,
    SpaceAttention,
    SqueezeExcitation,
)
from jaxcxr.models.ops.preprocessing import IMAGENET, Pixels

_Part = TypeVar("_Part", bound=nn.Module)
_BackboneClass = TypeVar("_BackboneClass", bound=type[nn.Module])
_HeadClass = TypeVar("_HeadClass", bound=type[Head])

_backbones: dict[str, type[nn.Module]] = {}
_heads: dict[str, type[Head]] = {}


def register_backbone(backbone: _BackboneClass) -> _BackboneClass:
    """Makes a backbone known to configs and saved runs under the name of its class.

    A decorator of a Flax module with the methods of `jaxcxr.models.Backbone`. Its fields are
    settings: ``config.model.backbone.FIELD``.

    Raises:
        UserError: Another class has the name.
    """
    return _register(backbone, _backbones)


def register_head(head: _HeadClass) -> _HeadClass:
    """Makes a head known to configs and saved runs under the name of its class.

    A decorator of a subclass of `jaxcxr.Head`. Its fields are settings:
    ``config.model.head.FIELD``.

    Raises:
        UserError: Another class has the name.
    """
    return _register(head, _heads)


def backbones() -> Mapping[str, type[nn.Module]]:
    """Returns every registered backbone by name."""
    return MappingProxyType(_backbones)


def heads() -> Mapping[str, type[Head]]:
    """Returns every registered head by name."""
    return MappingProxyType(_heads)


def build_classifier(config: Mapping[str, Any]) -> Classifier:
    """Builds the classifier that a config describes.

    Args:
        config: ``{"backbone": {"name": "ResNet34", **fields}, "head": {"name": "Baseline",
            **fields}}``; fields that are missing keep their defaults, as do those that are None
            and cannot be. ``"pixels": {"mean": …, "std": …}`` are the fields of `Pixels`.

    Raises:
        UserError: A name is not registered, or a field or its value is unknown; the message lists
            the choices.
    """
    for name in config:
        if name not in ("backbone", "head", "pixels"):
            raise UserError(f"model.{name} is not a setting: use backbone, head, pixels")
    backbone = _build("backbone", config.get("backbone", {}), _backbones)
    head = _build("head", config.get("head", {}), _heads)
    pixels = Pixels(**config.get("pixels", {}))
    return Classifier(backbone, head, pixels)


def classifier_config(model: Classifier) -> dict[str, Any]:
    """Returns the config from which `build_classifier` builds `model` again."""
    pixels = {} if model.pixels == IMAGENET else {"pixels": dataclasses.asdict(model.pixels)}
    parts = {"backbone": part_config(model.backbone), "head": part_config(model.head)}
    return parts | pixels


def part_config(module: nn.Module) -> dict[str, Any]:
    """Returns the name and the fields of a backbone or head, as configs hold them."""
    fields = {name: getattr(module, name) for name in field_types(type(module))}
    return {"name": type(module).__name__} | fields


def _register(module: Any, known: dict[str, Any]) -> Any:
    name = module.__name__
    other = known.get(name)
    # A notebook's cell or a reloaded file defines its class again.
    if other is not None and _place(other) != _place(module):
        raise UserError(
            f"{name} of {module.__module__} cannot be registered: {other.__module__} has a class "
            "of this name; rename one"
        )
    known[name] = module
    return module


def _place(module: type) -> tuple[str, str]:
    return module.__module__, module.__qualname__


def _build(role: str, config: Mapping[str, Any], known: Mapping[str, type[_Part]]) -> _Part:
    name = config.get("name", "")
    if name not in known:
        problem = f"is {name!r}, which is not registered" if name else "is missing"
        raise UserError(
            f"model.{role}.name {problem}: use one of {', '.join(known)}, or import the module "
            f"that registers it first (@jaxcxr.register_{role})",
            argument="import",
        )
    choices, fields = field_types(known[name]), {}
    for key, value in config.items():
        if value is None and (key not in choices or not fits(None, choices[key])):
            continue
        if key not in choices and key != "name":
            raise UserError(
                f"model.{role}.{key} is not a field of {name}: use {', '.join(choices)}"
            )
        fields[key] = tuple(value) if isinstance(value, list) else value
    module = known[name](**{key: value for key, value in fields.items() if key != "name"})
    check_fields(module, f"model.{role}")
    return module


for _backbone in (ResNet18, ResNet34, ResNet50, DenseNet121):
    register_backbone(_backbone)
for _head in (
    Baseline,
    SpaceAttention,
    AttentionGated,
    SqueezeExcitation,
    PCAM,
    LogSumExp,
    Pylon,
):
    register_head(_head)
