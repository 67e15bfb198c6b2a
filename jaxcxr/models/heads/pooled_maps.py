"""Heads that pool a map of logits for each finding; the map's probabilities are the heat map."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid
from jaxcxr.models.heads.head import Head, Prediction, conv1x1
from jaxcxr.models.heads.pyramid import FeaturePyramid, PyramidAttention, stage_at
from jaxcxr.models.ops.normalization import INFERENCE, Mode


class PooledMaps(Head):
    """Maps of logits from a 1×1 convolution; a subclass decides how they become one logit each.

    Attributes:
        num_classes: Number of findings.
        stride: Distance of the maps' cells in pixels, the stride of one of the backbone's stages;
            finer stages than the last are merged with the coarser ones by `decoder`. None reads the
            last stage as it is.
        width: Channels of the merged map.
        decoder: How stages are merged. ``"sum"``: 1×1 convolutions, sums from the coarsest down,
            ReLU; ``"refined"``: with ReLU, a 3×3 convolution, batch norm and ReLU after each sum;
            ``"attention"``: PYLON's. See `jaxcxr.models.heads.pyramid`.
    """

    num_classes: PositiveInt = 14
    stride: PositiveInt | None = None
    width: PositiveInt = 64
    decoder: Literal["sum", "refined", "attention"] = "sum"

    heatmaps_are_probabilities: ClassVar[bool] = True

    @abc.abstractmethod
    def pool(self, maps: jax.Array) -> jax.Array:
        """Pools maps of logits (B, h, w, classes) to logits (B, classes), all float32."""

    def heatmap_grid(self, stages: Sequence[Grid]) -> Grid:
        """Returns the grid of the stage at `stride`."""
        return stages[stage_at(stages, self.stride)]

    @nn.nowrap
    def check_stages(self, grids: Sequence[Grid]) -> None:
        """Refuses a stride that no stage has; see `Head.check_stages`."""
        stage_at(grids, self.stride)

    @nn.compact
    def read(
        self, stages: Sequence[jax.Array], grids: Sequence[Grid], mode: Mode = INFERENCE
    ) -> Prediction:
        """Merges the stages and pools the maps of logits; see `Head.read`."""
        features = self._merged(stages, grids, mode).astype(jnp.float32)
        maps = conv1x1(features, self.num_classes, "conv")
        return Prediction(self.pool(maps), nn.sigmoid(maps))

    def _merged(self, stages: Sequence[jax.Array], grids: Sequence[Grid], mode: Mode) -> jax.Array:
        if self.stride is None:
            return stages[-1]
        if self.decoder == "attention":
            merge = PyramidAttention(self.width, self.stride, name="pyramid")
        else:
            refines = self.decoder == "refined"
            merge = FeaturePyramid(self.width, self.stride, refines, name="pyramid")
        return merge(stages, grids, mode)
