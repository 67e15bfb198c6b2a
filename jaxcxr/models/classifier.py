"""A backbone and a head make a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import jax
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.backbones.backbone import NUM_STAGES, Backbone
from jaxcxr.models.fields import check_fields
from jaxcxr.models.geometry import Grid
from jaxcxr.models.heads import Head, Prediction
from jaxcxr.models.ops.normalization import INFERENCE, Mode
from jaxcxr.models.ops.preprocessing import IMAGENET, Pixels, normalize

_MAX_BLOCKS = 64
"""Blocks in a stage; greater numbers are probably typos."""


class Classifier(nn.Module):
    """A backbone's feature maps read by a head: ``Classifier(ResNet34(), Baseline())``.

    Its variables are ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``.

    Attributes:
        backbone: For example `ResNet34()`, or any module that is a `jaxcxr.models.Backbone`.
        head: For example `Baseline()`, or any other `Head`.
        pixels: How gray values become the network's input; its number of channels.

    Raises:
        UserError: A field of the backbone or the head has an invalid value.
    """

    backbone: nn.Module
    head: Head
    pixels: Pixels = IMAGENET

    def __post_init__(self) -> None:
        check_fields(self.backbone)
        check_fields(self.head)
        _check_blocks(self.backbone)
        self.head.check_stages(self._grids)
        super().__post_init__()

    def __call__(self, images: jax.Array, mode: Mode = INFERENCE) -> Prediction:
        """Classifies normalized images (B, H, W, channels), as `normalize` returns them."""
        return self.read(self.backbone(images, mode, self.link), mode)

    @nn.nowrap
    def normalize(self, images: jax.Array) -> jax.Array:
        """Scales gray values (B, H, W, 1) of 0 to 255 to the input (B, H, W, channels), float32."""
        return normalize(images, self.pixels)

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
    def heatmaps_are_probabilities(self) -> bool:
        """Whether the heat maps' values are probabilities; see `Head`."""
        return self.head.heatmaps_are_probabilities

    @property
    def _grids(self) -> tuple[Grid, ...]:
        return cast(Backbone, self.backbone).grids


def _check_blocks(backbone: nn.Module) -> None:
    blocks = getattr(backbone, "blocks", None)
    counts = blocks if isinstance(blocks, tuple) else ()
    are_counts = [isinstance(count, int) and 1 <= count <= _MAX_BLOCKS for count in counts]
    if blocks is not None and not (1 <= len(counts) <= NUM_STAGES and all(are_counts)):
        raise UserError(
            f"{type(backbone).__name__}.blocks is {blocks!r}; expected 1 to {NUM_STAGES} stages of "
            f"1 to {_MAX_BLOCKS} blocks"
        )
