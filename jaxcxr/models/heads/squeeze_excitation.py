"""The squeeze-and-excitation head: the fourth network of the authors' code.

Hu et al. 2018, "Squeeze-and-excitation networks"; here without reduction of channels, once after
each stage, beside a shortcut around the whole stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
from flax import linen as nn

from jaxcxr.models.backbones.backbone import NUM_STAGES
from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid, resample
from jaxcxr.models.heads.head import Head, Prediction, conv1x1
from jaxcxr.models.heads.space_attention import SpaceAttention
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode


class Recalibration(nn.Module):
    """Weighs a stage's channels by what the whole map says of them; adds the stage's input.

    Attributes:
        resizes_last: Whether the input is resized after batch norm instead of at first.
    """

    resizes_last: bool = False

    @nn.compact
    def __call__(
        self, before: jax.Array, after: jax.Array, mode: Mode, grids: tuple[Grid, Grid]
    ) -> jax.Array:
        """Maps a stage's input (B, H, W, D) and output (B, h, w, C) to (B, h, w, C).

        Where they differ in size, the input is sampled where the output's cells lie; `grids` are
        those of the two.
        """
        channels = after.shape[-1]
        squeezed = nn.relu(conv1x1(after.mean((1, 2), keepdims=True), channels, "squeeze"))
        weights = nn.sigmoid(conv1x1(squeezed, channels, "excite"))
        if before.shape != after.shape:
            size = after.shape[1:3]
            before = before if self.resizes_last else resample(before, *grids, size)
            before = conv1x1(before, channels, "downsample_conv")
            before = BatchNorm(name="downsample_bn")(before, mode)
            before = resample(before, *grids, size) if self.resizes_last else before
        return after * weights + before


class SqueezeExcitation(Head):
    """Recalibrates every stage of the backbone, then reads the last one with space attention.

    Attributes:
        num_classes: Number of findings.
        window: See `SpaceAttention`; the authors' checkpoints were trained with 7.
        shortcut: Whether the shortcuts around the stages are resized at "first", or in the third
            and fourth stage after batch norm, as in the code of the "authors". This matters in
            training, where it changes the batch's statistics.
    """

    num_classes: PositiveInt = 14
    window: PositiveInt | None = None
    shortcut: Literal["first", "authors"] = "first"

    def setup(self) -> None:
        """Names the parts."""
        late = (2, 3) if self.shortcut == "authors" else ()
        self.stages = [Recalibration(stage in late) for stage in range(NUM_STAGES)]
        self.attention = SpaceAttention(self.num_classes, self.window)

    def heatmap_grid(self, stages: Sequence[Grid]) -> Grid:
        """Returns the last stage's grid."""
        return stages[-1]

    def link(
        self,
        stage: int,
        before: jax.Array,
        after: jax.Array,
        mode: Mode,
        grids: Sequence[Grid],
    ) -> jax.Array:
        """Returns the recalibrated output of a stage; see `Head.link`."""
        between = (grids[max(stage - 1, 0)], grids[stage])  # the stem's output is on the first's
        return self.stages[stage](before, after, mode, between)

    def __call__(self, stages: Sequence[jax.Array], mode: Mode = INFERENCE) -> Prediction:
        """Reads the last stage's features (B, h, w, C); see `Head`."""
        return self.attention(stages, mode)
