"""The attention gated head: finer stages, gated by the coarsest (paper, Figure 2, Equation 2).

Schlemper et al. 2018, "Attention-gated networks for improving ultrasound scan plane detection".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.images.grid import tiles
from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid, resample
from jaxcxr.models.heads.head import (
    Head,
    Prediction,
    class_activation_maps,
    conv1x1,
    dense,
    mean_probability,
)
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.ops.resizing import resize_bilinear, unit_range


class AttentionGate(nn.Module):
    """Lets through those positions of a fine map which agree with the coarse one (Equation 2)."""

    @nn.compact
    def __call__(
        self, x: jax.Array, coarse: jax.Array, mode: Mode = INFERENCE
    ) -> tuple[jax.Array, jax.Array]:
        """Gates a fine map.

        Args:
            x: The fine map (B, H, W, C).
            coarse: The gating signal (B, h, w, D).
            mode: Training or inference.

        Returns:
            The gated map (B, H, W, C) and the attention (B, H, W, 1) in 0..1.
        """
        channels = x.shape[-1]
        theta = conv1x1(x, channels // 2, "theta", use_bias=False)
        phi = resize_bilinear(conv1x1(coarse, channels // 2, "phi"), x.shape[1:3])
        attention = nn.sigmoid(conv1x1(nn.relu(theta + phi), 1, "psi"))
        gated = conv1x1(attention * x, channels, "conv")
        return BatchNorm(name="bn")(gated, mode), attention


class AttentionGated(Head):
    """Gated sums of the second and third stage and the average of the fourth, then classifiers.

    The heat map is the mean of both attentions and of the coarse map's class activation map, each
    scaled to 0..1 per image and class, sampled where the second stage's cells lie. The class
    activation map uses the weights by which the coarse average really reaches the logits.

    Attributes:
        num_classes: Number of findings.
        aggregation: How three scales become one prediction. ``"concat"`` (the paper's): one
            classifier reads them all. ``"mean"``: the mean of a classifier for each scale.
            ``"ft"``: one more classifier reads those three. ``"deep_sup"``: the mean of the concat
            and the three scales' classifiers; their four logits (B, 14) are also sown in the
            collection ``side_logits``, for a loss that supervises each of them.
        average: What ``"mean"`` and ``"deep_sup"`` average, and ``"ft"`` reads: the classifiers'
            logits, or their probabilities, as in the authors' code. A mean probability is returned
            as its log-odds.
        map_sampling: How the heat map samples the coarser maps: at the centers of the second
            stage's cells, or, as in the authors' code, as if the cells of every map tiled the
            image, which displaces the coarsest map by 12 pixels.
    """

    num_classes: PositiveInt = 14
    aggregation: Literal["concat", "mean", "deep_sup", "ft"] = "concat"
    average: Literal["logits", "probabilities"] = "logits"
    map_sampling: Literal["centers", "tiles"] = "centers"

    min_stages: ClassVar[int] = 3

    def heatmap_grid(self, stages: Sequence[Grid]) -> Grid:
        """Returns the second stage's grid."""
        return stages[-3]

    @nn.compact
    def read(
        self, stages: Sequence[jax.Array], grids: Sequence[Grid], mode: Mode = INFERENCE
    ) -> Prediction:
        """Reads the second, third and fourth stage; see `Head.read`."""
        x2, x3, x4 = stages[-3:]
        x4 = conv1x1(x4, x4.shape[-1], "coarse")
        gated2, attention2 = AttentionGate(name="gate2")(x2, x4, mode)
        gated3, attention3 = AttentionGate(name="gate3")(x3, x4, mode)
        scales = gated2.sum((1, 2)), gated3.sum((1, 2)), x4.mean((1, 2))
        logits, coarse_weights = self._aggregate(scales)
        maps = attention2, attention3, class_activation_maps(x4, coarse_weights)
        if self.map_sampling == "tiles":
            grids = [tiles(x2.shape[1], each.shape[1]) for each in maps]
        fine, *_ = grids = grids[-3:]
        on_fine = [
            unit_range(resample(each, grid, fine, x2.shape[1:3]))
            for each, grid in zip(maps, grids, strict=True)
        ]
        return Prediction(logits, sum(on_fine[1:], start=on_fine[0]) / len(on_fine))

    def _aggregate(self, scales: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Returns logits (B, classes) and the coarse scale's weights in them (C, classes)."""
        match self.aggregation:
            case "concat":
                return self._concat(scales)
            case "mean":
                logits, weights = self._each(scales)
                return self._mean(logits), weights
            case "ft":
                return self._fine_tuned(*self._each(scales))
            case "deep_sup":
                together, weights = self._concat(scales)
                apart, coarse_weights = self._each(scales)
                logits = [together, *apart]
                if not self.is_initializing():
                    for each in logits:
                        self.sow("side_logits", "logits", each)
                return self._mean(logits), weights + coarse_weights

    def _mean(self, logits: Sequence[jax.Array]) -> jax.Array:
        stacked = jnp.stack(logits)
        return mean_probability(stacked) if self.average == "probabilities" else stacked.mean(0)

    def _fine_tuned(
        self, logits: Sequence[jax.Array], weights: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        read = jnp.concatenate(logits, -1)
        if self.average == "probabilities":
            # Through a sigmoid no fixed weights reach the result: its heat map is that of the
            # coarse scale's own classifier.
            return dense(nn.sigmoid(read), self.num_classes, "classifier")[0], weights
        tuned, mixing = dense(read, self.num_classes, "classifier")
        return tuned, weights @ mixing[-self.num_classes :]

    def _concat(self, scales: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        logits, weights = dense(jnp.concatenate(scales, -1), self.num_classes, "classifier")
        return logits, weights[-scales[-1].shape[-1] :]

    def _each(self, scales: Sequence[jax.Array]) -> tuple[list[jax.Array], jax.Array]:
        pairs = [
            dense(scale, self.num_classes, f"classifier{index}")
            for index, scale in enumerate(scales, start=2)
        ]
        return [logits for logits, _ in pairs], pairs[-1][1]
