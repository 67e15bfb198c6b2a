"""Where in the radiograph the cells of a heat map lie.

A map of h × w cells over an image is commonly enlarged as if its cells tiled the image, the first
one centered half a cell from the edge. The networks here do not see it that way: a convolution of
stride 2 with symmetric padding (torchvision's) centers output i on input 2i, so cell i of a
ResNet's last stage is centered on pixel 32i, and a map enlarged as tiles lies 15.5 pixels too far
down and to the right: 6 % of a 256-pixel image, 16 % of a 96-pixel one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxcxr.models.backbones.densenet import DenseNet121
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.heads import AttentionGated, Baseline

REFINEMENT = 4


def first_center(model: Classifier) -> float:
    """Returns the pixel (from 0) on which the first cell of the network's heat maps is centered.

    DenseNet's 2×2 average pools between the stages add half a step each: 2, 6, 14 pixels. Each of
    the two transposed convolutions (4×4, stride 2, padding 1) of the baseline's transition centers
    output o on input (o − ½) / 2: −8 pixels, then −12.
    """
    dense = isinstance(model.backbone, DenseNet121)
    if isinstance(model.head, AttentionGated):  # maps on the grid of the second stage
        return 2.0 if dense else 0.0
    last_stage = 14.0 if dense else 0.0
    if isinstance(model.head, Baseline) and model.head.transition == "deconvolution":
        return last_stage - 12.0
    return last_stage


def aligned(heatmaps: jax.Array, model: Classifier, image_size: int) -> jax.Array:
    """Returns a network's heat maps so that their cells tile the image of `image_size` pixels."""
    if model.heatmaps_tile_image:
        return heatmaps
    return tile_image(heatmaps, image_size, first_center(model))


def tile_image(heatmaps: jax.Array, image_size: int, center: float) -> jax.Array:
    """Resamples heat maps so that their cells tile the image.

    Args:
        heatmaps: (B, h, w, C) whose cell i is centered on pixel `center` + i · image_size / h.
        image_size: Height and width of the image in pixels.
        center: See `first_center`.

    Returns:
        (B, 4h, 4w, C), interpolated linearly and constant beyond the outermost centers: cell k is
        centered on pixel (k + ½) · image_size / 4h − ½, as tiles are.
    """
    rows, columns = (_weights(cells, image_size, center) for cells in heatmaps.shape[1:3])
    return jnp.einsum("bhwc,Hh,Ww->bHWc", heatmaps, rows, columns)


def _weights(cells: int, image_size: int, center: float) -> jax.Array:
    fine = REFINEMENT * cells
    pixels = (jnp.arange(fine) + 0.5) * image_size / fine - 0.5
    positions = ((pixels - center) * cells / image_size).clip(0, cells - 1)
    return jnp.maximum(0, 1 - jnp.abs(positions[:, None] - jnp.arange(cells)))
