"""Log-sum-exp pooling of a map of logits."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.models.fields import PositiveFloat
from jaxcxr.models.heads.pooled_maps import PooledMaps
from jaxcxr.models.ops.pooling import log_sum_exp


class LogSumExp(PooledMaps):
    """Between average and maximum of a map, by a sharpness r that is fixed or learned.

    Yao et al. 2018, "Weakly supervised medical diagnosis and localization from multiple
    resolutions" (arXiv 1803.07703) learn β in r = r0 + exp(β), which stays above r0. Here the maps
    are logits, and so is the result. A learned r scored lower after a short training
    (docs/localization.md), so it is fixed unless asked for.

    Attributes, beside those of `PooledMaps`:
        r0: What r stays above; r is r0 + 1, where a learned one starts.
        learned: Whether r is learned: ``"no"``; ``"shared"``, one for all findings;
            ``"per_finding"``.
    """

    r0: PositiveFloat = 2.0
    learned: Literal["no", "shared", "per_finding"] = "no"

    def pool(self, maps: jax.Array) -> jax.Array:
        """Pools maps of logits (B, h, w, classes) to logits (B, classes)."""
        beta = jnp.zeros(())
        if self.learned != "no":
            shape = (self.num_classes,) if self.learned == "per_finding" else ()
            beta = self.param("beta", nn.initializers.zeros, shape, jnp.float32)
        return log_sum_exp(maps, self.r0 + jnp.exp(beta), maps.shape[1] * maps.shape[2])
