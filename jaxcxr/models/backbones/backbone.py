"""What every backbone is to a head: the feature maps of its stages, and where their cells lie."""

from __future__ import annotations

from typing import Protocol

import jax

from jaxcxr.models.geometry import Grid
from jaxcxr.models.ops.normalization import Mode

NUM_STAGES = 4


class Backbone(Protocol):
    """A Flax module that turns images into the feature maps of its stages."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Where the cells of each stage lie in the input."""
        ...


class StageLink(Protocol):
    """What a head puts between two stages; see `jaxcxr.models.heads.Head.link`."""

    def __call__(self, stage: int, before: jax.Array, after: jax.Array, mode: Mode) -> jax.Array:
        """Returns what stage `stage` (from 0) hands on, given its input and its output."""
        ...


def no_link(stage: int, before: jax.Array, after: jax.Array, mode: Mode) -> jax.Array:
    """Hands a stage's output on as it is."""
    del stage, before, mode
    return after
