"""ResNet-18, -34 and -50 as torchvision builds them, without pooling and classifier.

He et al. 2016, "Deep residual learning for image recognition". ResNet-50 is the variant known as
v1.5: a bottleneck strides in its 3×3 convolution. Parameters carry torchvision's names, but
``stage1_0`` for ``layer1.0`` and ``downsample_conv``, ``downsample_bn`` for ``downsample.0``,
``downsample.1``.
"""

from __future__ import annotations

import functools
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from jaxcxr.models.backbones.backbone import StageLink, no_link
from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid
from jaxcxr.models.ops.convolution import conv
from jaxcxr.models.ops.initializers import he_fan_out
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.ops.pooling import max_pool

_conv = functools.partial(conv, init=he_fan_out)


def _shortcut(x: jax.Array, features: int, stride: int, mode: Mode) -> jax.Array:
    """Returns the block's input, projected where the block changes its shape."""
    if stride == 1 and x.shape[-1] == features:
        return x
    x = _conv(x, features, 1, "downsample_conv", stride=stride)
    return BatchNorm(name="downsample_bn")(x, mode)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut.

    Attributes:
        width: Channels of the result.
        stride: Of the first convolution.
        dilations: Of a kernel before and after the place of the stride.
    """

    width: int
    stride: int
    dilations: tuple[int, int] = (1, 1)
    expansion: ClassVar[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps (B, H, W, C) to (B, H/stride, W/stride, width)."""
        before, after = self.dilations
        y = _conv(x, self.width, 3, "conv1", stride=self.stride, dilation=before)
        y = nn.relu(BatchNorm(name="bn1")(y, mode))
        y = _conv(y, self.width, 3, "conv2", dilation=after)
        y = BatchNorm(name="bn2")(y, mode)
        return nn.relu(y + _shortcut(x, self.width, self.stride, mode))


class Bottleneck(nn.Module):
    """1×1, 3×3 (strided) and 1×1 convolution beside a shortcut.

    Attributes:
        width: A quarter of the channels of the result.
        stride: Of the 3×3 convolution.
        dilations: Of a kernel before and after the place of the stride; the 3×3 one is before.
    """

    width: int
    stride: int
    dilations: tuple[int, int] = (1, 1)
    expansion: ClassVar[int] = 4

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps (B, H, W, C) to (B, H/stride, W/stride, 4·width)."""
        features = self.expansion * self.width
        y = _conv(x, self.width, 1, "conv1")
        y = nn.relu(BatchNorm(name="bn1")(y, mode))
        y = _conv(y, self.width, 3, "conv2", stride=self.stride, dilation=self.dilations[0])
        y = nn.relu(BatchNorm(name="bn2")(y, mode))
        y = _conv(y, features, 1, "conv3")
        y = BatchNorm(name="bn3")(y, mode)
        return nn.relu(y + _shortcut(x, features, self.stride, mode))


class ResNet(nn.Module):
    """The four stages of a ResNet.

    Attributes:
        blocks: Number of blocks in each stage.
        width: Channels of the stem and of the first stage; each further stage doubles them.
        output_stride: Largest distance of a stage's cells in pixels. Where a stage would exceed it,
            its stride is replaced by a dilation of its kernels and of those after it (Chen et al.
            2017, "Rethinking atrous convolution for semantic image segmentation"): the same
            weights compute the same features at more places.
    """

    blocks: tuple[int, ...]
    width: PositiveInt = 64
    output_stride: Literal[4, 8, 16, 32] = 32
    block: ClassVar[type[BasicBlock] | type[Bottleneck]] = BasicBlock

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Where the cells of each stage lie; symmetric padding centers output i on input 2i."""
        strides = (4 * 2**stage for stage in range(len(self.blocks)))
        return tuple(Grid(0.0, float(min(stride, self.output_stride))) for stride in strides)

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
            Per stage (B, H/4, W/4, C), (B, H/8, W/8, 2C), … with C = width × block expansion, of
            the height and width that `output_stride` leaves.
        """
        x = _conv(x, self.width, 7, "conv1", stride=2)
        x = nn.relu(BatchNorm(name="bn1")(x, mode))
        x = max_pool(x)
        strides = [grid.stride for grid in self.grids]
        dilations = [int(4 * 2**stage / stride) for stage, stride in enumerate(strides)]
        stages = []
        for stage, (blocks, dilation) in enumerate(zip(self.blocks, dilations, strict=True)):
            before, entering = x, dilations[max(stage - 1, 0)]
            stride = 2 if stage > 0 and entering == dilation else 1
            for index in range(blocks):
                block = self.block(
                    self.width * 2**stage,
                    stride,
                    (entering, dilation),
                    name=f"stage{stage + 1}_{index}",
                )
                x = block(x, mode)
                stride, entering = 1, dilation
            x = link(stage, before, x, mode)
            stages.append(x)
        return tuple(stages)


class ResNet18(ResNet):
    """ResNet-18: 11.2 million parameters, 512 channels."""

    blocks: tuple[int, ...] = (2, 2, 2, 2)


class ResNet34(ResNet):
    """ResNet-34, the paper's backbone: 21.3 million parameters, 512 channels."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)


class ResNet50(ResNet):
    """ResNet-50, the reference paper's backbone: 23.5 million parameters, 2048 channels."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    block: ClassVar[type[BasicBlock] | type[Bottleneck]] = Bottleneck
