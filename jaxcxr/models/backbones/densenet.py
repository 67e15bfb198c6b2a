"""DenseNet-121 as torchvision builds it, without pooling and classifier; CheXNet's backbone.

Huang et al. 2017, "Densely connected convolutional networks". Parameters carry torchvision's
names, but ``stage1_0`` for ``denseblock1.denselayer1`` and ``stage2_transition`` for
``transition1``, which belongs to the stage that it opens.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.models.backbones.backbone import StageLink, no_link
from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid
from jaxcxr.models.ops.convolution import conv
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode, Moments, batch_moments
from jaxcxr.models.ops.pooling import max_pool

_BOTTLENECK = 4


class DenseLayer(nn.Module):
    """1×1 and 3×3 convolution, whose output is appended to the input."""

    growth: int

    @nn.compact
    def __call__(self, x: jax.Array, moments: Moments, mode: Mode) -> tuple[jax.Array, Moments]:
        """Maps (B, H, W, C) to (B, H, W, C + growth), and so their moments."""
        y = nn.relu(BatchNorm(name="norm1")(x, mode, moments))
        y = conv(y, _BOTTLENECK * self.growth, 1, "conv1")
        y = nn.relu(BatchNorm(name="norm2")(y, mode))
        y = conv(y, self.growth, 3, "conv2")
        # Those of maps that many layers read are computed once.
        both = zip(moments, batch_moments(y, mode), strict=True)
        return jnp.concatenate([x, y], -1), Moments(*map(jnp.concatenate, both))


class Transition(nn.Module):
    """Halves channels, height and width between two stages."""

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps (B, H, W, C) to (B, H/2, W/2, C/2)."""
        x = nn.relu(BatchNorm(name="norm")(x, mode))
        x = conv(x, x.shape[-1] // 2, 1, "conv")
        return nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))


class DenseNet121(nn.Module):
    """DenseNet-121: 7.0 million parameters, 1024 channels.

    Attributes:
        blocks: Number of dense layers in each stage.
        width: Channels of the stem.
        growth: Channels that each dense layer adds.
    """

    blocks: tuple[int, ...] = (6, 12, 24, 16)
    width: PositiveInt = 64
    growth: PositiveInt = 32

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Where the cells of each stage lie.

        The stem's symmetric padding centers output i on input 2i; a transition averages the inputs
        2i and 2i + 1.
        """
        grids = [Grid(0.0, 4.0)]
        for _ in self.blocks[1:]:
            grids.append(grids[-1].strided(0.5, 2))
        return tuple(grids)

    @nn.compact
    def __call__(
        self, x: jax.Array, mode: Mode = INFERENCE, link: StageLink = no_link
    ) -> tuple[jax.Array, ...]:
        """Returns the feature maps of every stage.

        Args:
            x: Normalized images (B, H, W, 3).
            mode: Training or inference.
            link: What the head puts between two stages.

        Returns:
            Per stage (B, H/4, W/4, C₁), (B, H/8, W/8, C₂), …: for the defaults 256, 512, 1024 and
            1024 channels. The last has passed the final batch norm and ReLU.
        """
        x = conv(x, self.width, 7, "conv0", stride=2)
        x = nn.relu(BatchNorm(name="norm0")(x, mode))
        x = max_pool(x)
        stages = []
        for stage, blocks in enumerate(self.blocks):
            before = x
            if stage > 0:
                x = Transition(name=f"stage{stage + 1}_transition")(x, mode)
            moments = batch_moments(x, mode)
            for index in range(blocks):
                x, moments = DenseLayer(self.growth, name=f"stage{stage + 1}_{index}")(
                    x, moments, mode
                )
            if stage == len(self.blocks) - 1:
                x = nn.relu(BatchNorm(name="norm5")(x, mode, moments))
            x = link(stage, before, x, mode)
            stages.append(x)
        return tuple(stages)
