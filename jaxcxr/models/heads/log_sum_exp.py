"""Log-sum-exp pooling whose sharpness is learned, alone and mixed with PCAM pooling."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.models.fields import PositiveFloat
from jaxcxr.models.heads.pcam import pool_by_probability
from jaxcxr.models.heads.pooled_maps import PooledMaps
from jaxcxr.models.ops.pooling import log_sum_exp


class LogSumExp(PooledMaps):
    """Between average and maximum of a map, by a learned sharpness r.

    Yao et al. 2018, "Weakly supervised medical diagnosis and localization from multiple
    resolutions" (arXiv 1803.07703): r = r0 + exp(β) stays above r0. They pool maps of
    probabilities; here the maps are logits, and so is the result.

    Attributes:
        num_classes: Number of findings.
        stride: See `PooledMaps`.
        width: See `PooledMaps`.
        decoder: See `PooledMaps`.
        r0: What r stays above; training starts from r0 + 1.
        per_finding: Whether each finding has its own r.
    """

    r0: PositiveFloat = 2.0
    per_finding: bool = True

    def pool(self, maps: jax.Array) -> jax.Array:
        """Pools maps of logits (B, h, w, classes) to logits (B, classes)."""
        shape = (self.num_classes,) if self.per_finding else ()
        beta = self.param("beta", nn.initializers.zeros, shape, jnp.float32)
        return log_sum_exp(maps, self.r0 + jnp.exp(beta), maps.shape[1] * maps.shape[2])


class MixedPooling(LogSumExp):
    """A learned mean of log-sum-exp and PCAM pooling for each finding.

    Log-sum-exp reads small findings best, PCAM large ones (docs/networks.md): labels decide.

    Attributes:
        num_classes: Number of findings.
        stride: See `PooledMaps`.
        width: See `PooledMaps`.
        decoder: See `PooledMaps`.
        r0: See `LogSumExp`.
        per_finding: See `LogSumExp`.
    """

    def pool(self, maps: jax.Array) -> jax.Array:
        """Pools maps of logits (B, h, w, classes) to logits (B, classes)."""
        gate = self.param("gate", nn.initializers.zeros, (self.num_classes,), jnp.float32)
        share = nn.sigmoid(gate)
        return share * super().pool(maps) + (1 - share) * pool_by_probability(maps)
