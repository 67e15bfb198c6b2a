"""ResNet-18, -34 and -50 as torchvision builds them, without pooling and classifier.

He et al. 2016, "Deep residual learning for image recognition". ResNet-50 is the variant known as
v1.5: a bottleneck strides in its 3×3 convolution. Parameters carry torchvision's names, but
``stage1_0`` for ``layer1.0`` and ``downsample_conv``, ``downsample_bn`` for ``downsample.0``,
``downsample.1``.
"""

from __future__ import annotations

from typing import ClassVar

import jax
from flax import linen as nn

from jaxcxr.models.backbones.backbone import StageLink, no_link
from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid
from jaxcxr.models.ops.convolution import Conv
from jaxcxr.models.ops.initializers import he_fan_out
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.ops.pooling import max_pool


def _conv(x: jax.Array, features: int, kernel: int, stride: int, name: str) -> jax.Array:
    """Convolves as PyTorch does: symmetric padding that keeps the size at stride 1, no bias."""
    return Conv(
        features,
        (kernel, kernel),
        stride,
        padding=kernel // 2,
        use_bias=False,
        dtype=x.dtype,
        kernel_init=he_fan_out,
        name=name,
    )(x)


def _shortcut(x: jax.Array, features: int, stride: int, mode: Mode) -> jax.Array:
    """Returns the block's input, projected where the block changes its shape."""
    if stride == 1 and x.shape[-1] == features:
        return x
    x = _conv(x, features, 1, stride, "downsample_conv")
    return BatchNorm(name="downsample_bn")(x, mode)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    width: int
    stride: int
    expansion: ClassVar[int] = 1

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps (B, H, W, C) to (B, H/stride, W/stride, width)."""
        y = _conv(x, self.width, 3, self.stride, "conv1")
        y = nn.relu(BatchNorm(name="bn1")(y, mode))
        y = _conv(y, self.width, 3, 1, "conv2")
        y = BatchNorm(name="bn2")(y, mode)
        return nn.relu(y + _shortcut(x, self.width, self.stride, mode))


class Bottleneck(nn.Module):
    """1×1, 3×3 (strided) and 1×1 convolution beside a shortcut."""

    width: int
    stride: int
    expansion: ClassVar[int] = 4

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps (B, H, W, C) to (B, H/stride, W/stride, 4·width)."""
        features = self.expansion * self.width
        y = _conv(x, self.width, 1, 1, "conv1")
        y = nn.relu(BatchNorm(name="bn1")(y, mode))
        y = _conv(y, self.width, 3, self.stride, "conv2")
        y = nn.relu(BatchNorm(name="bn2")(y, mode))
        y = _conv(y, features, 1, 1, "conv3")
        y = BatchNorm(name="bn3")(y, mode)
        return nn.relu(y + _shortcut(x, features, self.stride, mode))


class ResNet(nn.Module):
    """The four stages of a ResNet.

    Attributes:
        blocks: Number of blocks in each stage.
        width: Channels of the stem and of the first stage; each further stage doubles them.
    """

    blocks: tuple[int, ...]
    width: PositiveInt = 64
    block: ClassVar[type[BasicBlock] | type[Bottleneck]] = BasicBlock

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Where the cells of each stage lie; symmetric padding centers output i on input 2i."""
        return tuple(Grid(0.0, 4.0 * 2**stage) for stage in range(len(self.blocks)))

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
            Per stage (B, H/4, W/4, C), (B, H/8, W/8, 2C), … with C = width × block expansion.
        """
        x = _conv(x, self.width, 7, 2, "conv1")
        x = nn.relu(BatchNorm(name="bn1")(x, mode))
        x = max_pool(x)
        stages = []
        for stage, blocks in enumerate(self.blocks):
            before = x
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                block = self.block(self.width * 2**stage, stride, name=f"stage{stage + 1}_{index}")
                x = block(x, mode)
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
