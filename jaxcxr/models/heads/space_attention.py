"""The space attention head: each position sees the whole image's context (paper, Figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid
from jaxcxr.models.heads.head import Head, Prediction, conv1x1
from jaxcxr.models.ops.normalization import INFERENCE, Mode
from jaxcxr.models.ops.resizing import resize_nearest


class SpaceAttention(Head):
    """Heat maps from each position's features and their context; logits are the maps' averages.

    Attributes:
        num_classes: Number of findings.
        window: Height and width of the context in positions; None is the whole map, as in the
            paper. The authors' checkpoints were trained with 7 on maps of 8×8.
    """

    num_classes: PositiveInt = 14
    window: PositiveInt | None = None

    def heatmap_grid(self, stages: Sequence[Grid]) -> Grid:
        """Returns the last stage's grid."""
        return stages[-1]

    @nn.compact
    def __call__(self, stages: Sequence[jax.Array], mode: Mode = INFERENCE) -> Prediction:
        """Reads the last stage's features (B, h, w, C); see `Head`."""
        features = stages[-1].astype(jnp.float32)  # logits need more digits than features
        context = resize_nearest(_context(features, self.window), features.shape[1:3])
        both = jnp.concatenate([context, features], -1)
        heatmaps = conv1x1(both, self.num_classes, "conv")
        return Prediction(heatmaps.mean((1, 2)), heatmaps.astype(stages[-1].dtype))


def _context(x: jax.Array, window: PositiveInt | None) -> jax.Array:
    """Averages (B, h, w, C) over windows at stride 1, or over the whole map: (B, h', w', C)."""
    if window is None:
        return x.mean((1, 2), keepdims=True)
    height, width = (min(window, size) for size in x.shape[1:3])
    return nn.avg_pool(x, window_shape=(height, width))
