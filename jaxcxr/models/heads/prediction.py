"""What every head returns, and the map that links its logits to places in the image."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn


class Prediction(NamedTuple):
    """A classifier's answer for a batch; the compiler drops heat maps where nobody reads them.

    Attributes:
        logits: (B, 14), before the sigmoid.
        heatmaps: (B, h, w, 14), higher where the image speaks for the finding; unscaled.
    """

    logits: jax.Array
    heatmaps: jax.Array


def class_activation_maps(features: jax.Array, classifier: nn.Dense) -> jax.Array:
    """Weighs feature maps (B, h, w, C) by a called classifier's weights of each class, no bias.

    Zhou et al. 2016, "Learning deep features for discriminative localization".

    Returns:
        (B, h, w, classes).
    """
    kernel = classifier.variables["params"]["kernel"]
    return jnp.einsum("bhwc,cf->bhwf", features, kernel.astype(features.dtype))
