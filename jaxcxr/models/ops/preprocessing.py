"""From stored radiographs to what ImageNet networks expect; runs inside the jitted step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(images: jax.Array) -> jax.Array:
    """Scales gray values to 0..1, repeats them in three channels, applies ImageNet's mean and std.

    Args:
        images: (B, H, W, 1) uint8.

    Returns:
        (B, H, W, 3) float32.
    """
    scaled = images.astype(jnp.float32) / 255
    return (scaled - jnp.array(_IMAGENET_MEAN)) / jnp.array(_IMAGENET_STD)
