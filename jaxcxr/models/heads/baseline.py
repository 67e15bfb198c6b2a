"""The baseline head: transition layer, global pooling, prediction layer (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
from flax import linen as nn

from jaxcxr.models.fields import PositiveFloat, PositiveInt
from jaxcxr.models.geometry import Grid
from jaxcxr.models.heads.head import Head, Prediction, class_activation_maps, conv1x1, dense
from jaxcxr.models.ops.initializers import he_fan_in
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.ops.pooling import global_max, log_sum_exp


class Baseline(Head):
    """Transition layer, global pooling and one dense layer; heat maps are class activation maps.

    Attributes:
        num_classes: Number of findings.
        pooling: How the transition's maps become one vector: their maximum, their average, their
            log-sum-exp, or the mean of maximum and average.
        lse_r: r of log-sum-exp pooling; towards 0 it is the average, towards ∞ the maximum.
        lse_positions: What log-sum-exp pooling divides by: the number of "all" positions, or the
            "side" of the last stage's map (8 at 256 pixels), as in the authors' code. This adds a
            constant to all features: ln(8) / r instead of 0 for a map of zeros.
        transition: None, a 1×1 convolution without norm or activation, or two transposed
            convolutions, which make heat maps four times as high and wide.
    """

    num_classes: PositiveInt = 14
    pooling: Literal["max", "average", "lse", "max_average"] = "max"
    lse_r: PositiveFloat = 10.0
    lse_positions: Literal["all", "side"] = "all"
    transition: Literal["none", "conv", "deconvolution"] = "conv"

    def heatmap_grid(self, stages: Sequence[Grid]) -> Grid:
        """Returns the last stage's grid, four times as fine after the transposed convolutions."""
        if self.transition != "deconvolution":
            return stages[-1]
        # 4×4 at stride 2 with padding 1 centers output o on input (o − ½) / 2.
        return stages[-1].strided(-0.25, 0.5).strided(-0.25, 0.5)

    @nn.compact
    def __call__(self, stages: Sequence[jax.Array], mode: Mode = INFERENCE) -> Prediction:
        """Reads the last stage's features (B, h, w, C); see `Head`."""
        x = stages[-1]
        if self.transition == "conv":
            x = conv1x1(x, x.shape[-1], "transition")
        elif self.transition == "deconvolution":
            x = Deconvolution(name="transition")(x, mode)
        pooled = self._pool(x, side=stages[-1].shape[1])
        logits, weights = dense(pooled, self.num_classes, "classifier")
        return Prediction(logits, class_activation_maps(x, weights))

    def _pool(self, x: jax.Array, side: int) -> jax.Array:
        space = (1, 2)
        match self.pooling:
            case "max":
                return global_max(x)
            case "average":
                return x.mean(space)
            case "max_average":
                return (global_max(x) + x.mean(space)) / 2
            case "lse":
                positions = x.shape[1] * x.shape[2] if self.lse_positions == "all" else side
                return log_sum_exp(x, self.lse_r, positions)


class Deconvolution(nn.Module):
    """Two 4×4 transposed convolutions at stride 2, each with batch norm and ReLU."""

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode = INFERENCE) -> jax.Array:
        """Maps (B, h, w, C) to (B, 4h, 4w, C)."""
        for index in (1, 2):
            x = nn.ConvTranspose(
                x.shape[-1],
                (4, 4),
                (2, 2),
                padding="SAME",
                use_bias=False,
                dtype=x.dtype,
                kernel_init=he_fan_in,
                name=f"deconv{index}",
            )(x)
            x = nn.relu(BatchNorm(name=f"bn{index}")(x, mode))
        return x
