"""The pyramid localization network (PYLON): a fine map by attention, pooled by its maximum."""

from __future__ import annotations

from typing import Literal

import jax

from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.heads.pooled_maps import PooledMaps
from jaxcxr.models.ops.pooling import global_max


class Pylon(PooledMaps):
    """The maximum of a map of logits on PYLON's decoder.

    Preechakul et al. 2020, "High resolution weakly supervised localization architectures for
    medical images" (arXiv 2010.11475).
    The fields are those of `PooledMaps`; their defaults are the paper's.
    """

    stride: PositiveInt | None = 4
    width: PositiveInt = 128
    decoder: Literal["sum", "refined", "attention"] = "attention"

    def pool(self, maps: jax.Array) -> jax.Array:
        """Pools maps of logits (B, h, w, classes) to logits (B, classes)."""
        return global_max(maps)
