"""One feature map of chosen fineness from a backbone's stages, merged from the coarsest down."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.geometry import Grid, resample
from jaxcxr.models.heads.head import conv1x1
from jaxcxr.models.ops.convolution import conv
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.ops.pooling import max_pool

_ATTENTION_KERNELS = (7, 5, 3)
"""Kernels of the attention, from the finest of its three maps to the coarsest."""


def stage_at(grids: Sequence[Grid], stride: int | None) -> int:
    """Returns the index of the first stage whose cells lie `stride` pixels apart.

    Args:
        grids: Where the cells of each stage lie.
        stride: In pixels; None is the last stage.

    Raises:
        UserError: No stage has this stride.
    """
    strides = [grid.stride for grid in grids]
    if stride is None:
        return len(strides) - 1
    if stride not in strides:
        known = ", ".join(f"{each:g}" for each in dict.fromkeys(strides))
        raise UserError(
            f"the head's stride is {stride}, but the backbone's stages have the strides {known}; "
            "use one of them"
        )
    return strides.index(stride)


class FeaturePyramid(nn.Module):
    """Adds the stages from the coarsest down to the one at a stride, as maps of equal depth.

    Lin et al. 2017, "Feature pyramid networks for object detection", with one result; coarser maps
    are sampled where the finer ones' cells lie.

    Attributes:
        width: Channels of the maps.
        stride: Distance of the result's cells in pixels.
        refines: Whether ReLU, a 3×3 convolution, batch norm and ReLU follow each sum.
    """

    width: int
    stride: int
    refines: bool = False

    @nn.compact
    def __call__(
        self, stages: Sequence[jax.Array], grids: Sequence[Grid], mode: Mode = INFERENCE
    ) -> jax.Array:
        """Merges per stage (B, h, w, C), whose cells lie on `grids`, to (B, H, W, width)."""
        finest, last = stage_at(grids, self.stride), len(stages) - 1
        merged = conv1x1(stages[last], self.width, f"lateral{last + 1}")
        for stage in reversed(range(finest, last)):
            lateral = conv1x1(stages[stage], self.width, f"lateral{stage + 1}")
            above = resample(merged, grids[stage + 1], grids[stage], lateral.shape[1:3])
            merged = lateral + above
            if self.refines:
                refine = ConvBatchNormReLU(self.width, 3, name=f"refine{stage + 1}")
                merged = refine(nn.relu(merged), mode)
        return nn.relu(merged)


class PyramidAttention(nn.Module):
    """PYLON's decoder: attention of three scales on the last stage, then sums with finer stages.

    Preechakul et al. 2020, "High resolution weakly supervised localization architectures for
    medical images" (arXiv 2010.11475), as in their code (github.com/cmb-chula/pylon), except that
    coarser maps are sampled at the finer cells' centers. Theirs aligns the corners of the maps,
    which displaces them by up to a cell.

    Attributes:
        width: Channels of the maps.
        stride: Distance of the result's cells in pixels.
    """

    width: int
    stride: int

    @nn.compact
    def __call__(
        self, stages: Sequence[jax.Array], grids: Sequence[Grid], mode: Mode = INFERENCE
    ) -> jax.Array:
        """Merges per stage (B, h, w, C), whose cells lie on `grids`, to (B, H, W, width)."""
        finest, last = stage_at(grids, self.stride), len(stages) - 1
        attention = self._attention(stages[last], grids[last], mode)
        merged = attention * ConvBatchNormReLU(self.width, name="middle")(stages[last], mode)
        for stage in reversed(range(finest, last)):
            x = stages[stage]
            above = resample(merged, grids[stage + 1], grids[stage], x.shape[1:3])
            x = ConvBatchNormReLU(x.shape[-1], name=f"stage{stage + 1}_0")(x, mode)
            x = ConvBatchNormReLU(self.width, name=f"stage{stage + 1}_1")(x, mode)
            merged = above + x
        return merged

    def _attention(self, x: jax.Array, grid: Grid, mode: Mode) -> jax.Array:
        """Returns weights (B, h, w, 1), 0 or more, for the positions of a map (B, h, w, C)."""
        maps, grids = [x], [grid]
        for scale, kernel in enumerate(_ATTENTION_KERNELS, start=1):
            pooled = max_pool(maps[-1], size=2)
            maps.append(ConvBatchNormReLU(1, kernel, name=f"down{scale}")(pooled, mode))
            grids.append(grids[-1].strided(0.5, 2))
        total = jnp.zeros_like(maps[-1])
        for scale in reversed(range(1, len(maps))):
            kernel = _ATTENTION_KERNELS[scale - 1]
            total += ConvBatchNormReLU(1, kernel, name=f"conv{scale}")(maps[scale], mode)
            size = maps[scale - 1].shape[1:3]
            total = resample(total, grids[scale], grids[scale - 1], size)
        return total


class ConvBatchNormReLU(nn.Module):
    """A convolution without bias, batch norm and ReLU."""

    features: int
    kernel: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps (B, h, w, C) to (B, h, w, features)."""
        x = conv(x, self.features, self.kernel, "conv")
        return nn.relu(BatchNorm(name="bn")(x, mode))
