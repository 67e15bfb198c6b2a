"""A backbone and a head make a classifier."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Sequence
from typing import Any, Literal, cast

import jax
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.backbones.backbone import NUM_STAGES, Backbone
from jaxcxr.models.geometry import Grid
from jaxcxr.models.heads import Head, Prediction
from jaxcxr.models.ops.normalization import INFERENCE, Mode

_MOST_BLOCKS = 64
_LARGEST = 4096
"""Of any number that describes a network; greater ones are slips of the keyboard."""

_LINEN_FIELDS = ("parent", "name")


class Classifier(nn.Module):
    """A backbone's feature maps read by a head: ``Classifier(ResNet34(), Baseline())``.

    Its variables are ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``.

    Attributes:
        backbone: One of `jaxcxr.models.BACKBONES`.
        head: One of `jaxcxr.models.HEADS`.

    Raises:
        UserError: A field of the backbone or the head has a value that it does not know.
    """

    backbone: nn.Module
    head: Head

    def __post_init__(self) -> None:
        _check_choices(self.backbone)
        _check_choices(self.head)
        _check_stages(self.backbone, self.head)
        super().__post_init__()

    def __call__(self, images: jax.Array, mode: Mode = INFERENCE) -> Prediction:
        """Classifies normalized images (B, H, W, 3), as `preprocessing.normalize` returns them."""
        return self.read(self.backbone(images, mode, self.link), mode)

    def read(self, stages: Sequence[jax.Array], mode: Mode = INFERENCE) -> Prediction:
        """Calls the head on the feature maps of the backbone's stages."""
        return self.head.read(stages, self._grids, mode)

    def link(self, stage: int, before: jax.Array, after: jax.Array, mode: Mode) -> jax.Array:
        """Returns what stage `stage` (from 0) hands on; see `Head.link`."""
        return self.head.link(stage, before, after, mode, self._grids)

    @property
    def heatmap_grid(self) -> Grid:
        """Where the cells of the heat maps lie in the input."""
        return self.head.heatmap_grid(self._grids)

    @property
    def _grids(self) -> tuple[Grid, ...]:
        return cast(Backbone, self.backbone).grids


def field_names(module: type[nn.Module]) -> list[str]:
    """Returns the names of the fields that make a module what it is."""
    return [f.name for f in dataclasses.fields(module) if f.name not in _LINEN_FIELDS]


@functools.cache
def _choices(module: type[nn.Module]) -> dict[str, tuple[Any, ...]]:
    hints = typing.get_type_hints(module)
    return {
        name: typing.get_args(hints[name])
        for name in field_names(module)
        if typing.get_origin(hints[name]) is Literal
    }


def _check_choices(module: nn.Module) -> None:
    for name, choices in _choices(type(module)).items():
        if (value := getattr(module, name)) not in choices:
            raise UserError(
                f"{type(module).__name__}.{name} is {value!r}: use one of "
                + ", ".join(map(repr, choices))
            )
    for name in field_names(type(module)):
        value = getattr(module, name)
        numbers = [value] if isinstance(value, int | float) else ()
        if not all(0 < number <= _LARGEST for number in numbers):
            raise UserError(
                f"{type(module).__name__}.{name} is {value!r}; it must be above 0, and at most "
                f"{_LARGEST}"
            )


def _check_stages(backbone: nn.Module, head: Head) -> None:
    """Refuses a backbone of numbers of blocks that none has, and of too few stages for a head."""
    blocks = getattr(backbone, "blocks", None)
    if blocks is None:
        return
    are_counts = [isinstance(count, int) and 1 <= count <= _MOST_BLOCKS for count in blocks]
    if not 1 <= len(blocks) <= NUM_STAGES or not all(are_counts):
        raise UserError(
            f"{type(backbone).__name__}.blocks is {blocks!r}; name 1 to {NUM_STAGES} stages of "
            f"1 to {_MOST_BLOCKS} blocks"
        )
    if len(blocks) < head.min_stages:
        raise UserError(
            f"{type(head).__name__} reads {head.min_stages} stages, and {type(backbone).__name__}."
            f"blocks {blocks!r} has {len(blocks)}; add some"
        )
