"""The same network at several image sizes, their predictions averaged.

The ensemble that the paper discusses (section 6): Jun et al. 2018, "Automated diagnosis of
pneumothorax using an ensemble of convolutional neural networks with multi-sized chest radiography
images", at 128, 256 and 384 pixels.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.geometry import Grid, resample
from jaxcxr.models.heads import Prediction
from jaxcxr.models.heads.head import mean_probability
from jaxcxr.models.ops.normalization import INFERENCE, Mode
from jaxcxr.models.ops.resizing import unit_range

_SMALLEST, _LARGEST = 16, 2048


class MultiSize(Classifier):
    """A classifier for each size, each seeing the radiograph shrunk (or enlarged) to its own.

    Its variables are ``{"params": {"size_128": {"backbone": …, "head": …}, …}, …}``. Each member's
    logits (B, 14) are sown in the collection ``side_logits``, by which training gives every member
    a loss of its own: they learn as if alone.

    Attributes:
        backbone: The same at each size; see `Classifier`.
        head: The same at each size; see `Classifier`.
        sizes: Height and width in pixels that the members see.
    """

    sizes: tuple[int, ...] = (128, 256, 384)

    def __post_init__(self) -> None:
        are_sizes = [isinstance(s, int) and _SMALLEST <= s <= _LARGEST for s in self.sizes]
        if not self.sizes or not all(are_sizes):
            raise UserError(
                f"sizes is {self.sizes}; name the pixels that the members see, from {_SMALLEST} to "
                f"{_LARGEST}"
            )
        super().__post_init__()

    @property
    def heatmap_grid(self) -> Grid:
        """Every fourth pixel: fine beside the members' cells, which lie on no common grid."""
        return Grid(0.0, 4.0)

    @property
    def members(self) -> dict[str, Classifier]:
        """The classifier of each size under the name of its variables."""
        return {
            f"size_{size}": Classifier(
                self.backbone.clone(parent=None),
                self.head.clone(parent=None),
                self.pixels,
                parent=None,
            )
            for size in self.sizes
        }

    @nn.compact
    def __call__(self, images: jax.Array, mode: Mode = INFERENCE) -> Prediction:
        """Classifies normalized images (B, H, W, channels).

        Returns:
            Logits of the members' mean probabilities, and the mean of their heat maps, sampled on
            `heatmap_grid`. Those that are not probabilities are scaled to 0..1 per image and
            finding before.
        """
        full = images.shape[1]
        cells = math.ceil(full / self.heatmap_grid.stride)
        predictions = []
        for size, (name, member) in zip(self.sizes, self.members.items(), strict=True):
            shape = (len(images), size, size, images.shape[-1])
            seen = jax.image.resize(images, shape, "linear")
            logits, heatmaps = member.clone(name=name, parent=self)(seen, mode)
            if not self.is_initializing():
                self.sow("side_logits", "logits", logits)
            grid = member.heatmap_grid.scaled(full / size)
            sampled = resample(heatmaps, grid, self.heatmap_grid, (cells, cells))
            if not self.heatmaps_are_probabilities:
                sampled = unit_range(sampled)
            predictions.append((logits, sampled))
        logits, heatmaps = map(jnp.stack, zip(*predictions, strict=True))
        return Prediction(mean_probability(logits), heatmaps.mean(0))
