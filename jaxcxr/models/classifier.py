"""A backbone and a head make a classifier."""

from __future__ import annotations

from typing import ClassVar

import jax
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.backbones.backbone import NUM_STAGES
from jaxcxr.models.fields import check_fields
from jaxcxr.models.heads import Head, Prediction
from jaxcxr.models.ops.normalization import INFERENCE, Mode

_MAX_BLOCKS = 64
"""Blocks in a stage; greater numbers are probably typos."""


class Classifier(nn.Module):
    """A backbone's feature maps read by a head: ``Classifier(ResNet34(), Baseline())``.

    Its variables are ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``.

    Attributes:
        backbone: For example `ResNet34()`, or any module that is a `jaxcxr.models.Backbone`.
        head: For example `Baseline()`, or any other `Head`.
        heatmaps_tile_image: Whether the cells of its heat maps tile the image; see
            `jaxcxr.models.geometry`.

    Raises:
        UserError: A field of the backbone or the head has an invalid value.
    """

    backbone: nn.Module
    head: Head

    heatmaps_tile_image: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self.backbone)
        check_fields(self.head)
        _check_stages(self.backbone, self.head)
        super().__post_init__()

    def __call__(self, images: jax.Array, mode: Mode = INFERENCE) -> Prediction:
        """Classifies normalized images (B, H, W, 3), as `preprocessing.normalize` returns them."""
        return self.head(self.backbone(images, mode, self.head.link), mode)


def _check_stages(backbone: nn.Module, head: Head) -> None:
    """Refuses invalid numbers of blocks, and fewer stages than the head needs."""
    blocks = getattr(backbone, "blocks", None)
    if blocks is None:
        return
    are_counts = [isinstance(count, int) and 1 <= count <= _MAX_BLOCKS for count in blocks]
    if not 1 <= len(blocks) <= NUM_STAGES or not all(are_counts):
        raise UserError(
            f"{type(backbone).__name__}.blocks is {blocks!r}; expected 1 to {NUM_STAGES} stages of "
            f"1 to {_MAX_BLOCKS} blocks"
        )
    if len(blocks) < head.min_stages:
        raise UserError(
            f"{type(head).__name__} reads {head.min_stages} stages, but {type(backbone).__name__} "
            f"with blocks={blocks!r} has {len(blocks)}; add stages"
        )
