"""Probabilistic class activation map (PCAM) pooling."""

from __future__ import annotations

import jax

from jaxcxr.models.heads.pooled_maps import PooledMaps


class PCAM(PooledMaps):
    """Each position weighs as much as the finding is probable there.

    Ye et al. 2020, "Weakly supervised lesion localization with probabilistic-CAM pooling" (arXiv
    2005.14480). Their code (github.com/jfhealthcare/Chexpert) pools features by these weights and
    reads them with the convolution that made the map of logits, which gives the same logit.
    The fields are those of `PooledMaps`; ``stride=None`` is the paper's network.
    """

    def pool(self, maps: jax.Array) -> jax.Array:
        """Pools maps of logits (B, h, w, classes) to logits (B, classes)."""
        # Probabilities divided by their sum, which never is zero this way.
        values = maps.reshape(maps.shape[0], -1, maps.shape[-1])
        weights = jax.nn.softmax(jax.nn.log_sigmoid(values), axis=1)
        return (weights * values).sum(1)
