"""What every backbone is to a head: the feature maps of its four stages."""

from __future__ import annotations

from typing import Protocol

import jax

from jaxcxr.models.ops.normalization import Mode

NUM_STAGES = 4


class StageLink(Protocol):
    """What a head puts between two stages; see `jaxcxr.models.heads.Head.link`."""

    def __call__(self, stage: int, before: jax.Array, after: jax.Array, mode: Mode) -> jax.Array:
        """Returns what stage `stage` (from 0) hands on, given its input and its output."""
        ...


def no_link(stage: int, before: jax.Array, after: jax.Array, mode: Mode) -> jax.Array:
    """Hands a stage's output on as it is."""
    del stage, before, mode
    return after
