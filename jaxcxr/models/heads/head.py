"""What a head is, what it returns, and the map that links its logits to places in the image."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.models.fields import PositiveInt
from jaxcxr.models.geometry import Grid
from jaxcxr.models.ops.convolution import conv
from jaxcxr.models.ops.initializers import uniform_fan_in
from jaxcxr.models.ops.normalization import INFERENCE, Mode


class Prediction(NamedTuple):
    """A classifier's prediction for a batch; unused heat maps are not computed under `jax.jit`.

    Attributes:
        logits: (B, 14) float32, before the sigmoid.
        heatmaps: (B, h, w, 14), higher where the image supports the finding; probabilities are
            float32, other maps have the dtype of the features.
    """

    logits: jax.Array
    heatmaps: jax.Array


class Head(nn.Module, abc.ABC):
    """Reads the feature maps of a backbone's stages.

    Attributes:
        num_classes: Number of findings.
    """

    num_classes: PositiveInt = 14

    min_stages: ClassVar[int] = 1
    """Stages that the backbone has at least."""

    heatmaps_are_probabilities: ClassVar[bool] = False
    """Whether a heat map's values are the probabilities of the finding at each place."""

    @abc.abstractmethod
    def heatmap_grid(self, stages: Sequence[Grid]) -> Grid:
        """Returns where the cells of the heat maps lie.

        Args:
            stages: Where the cells of each stage's feature maps lie.
        """

    def read(
        self, stages: Sequence[jax.Array], grids: Sequence[Grid], mode: Mode = INFERENCE
    ) -> Prediction:
        """Returns logits and heat maps.

        A head that reads stages one by one defines ``__call__(stages, mode)`` alone; one that
        brings several together overrides this method.

        Args:
            stages: Per stage (B, h, w, C), at most as high and wide as the one before.
            grids: Where the cells of each stage lie.
            mode: Training or inference.
        """
        del grids
        return self(stages, mode)

    @nn.nowrap
    def check_stages(self, grids: Sequence[Grid]) -> None:
        """Raises a UserError where the stages, whose cells lie on `grids`, do not suffice."""
        if len(grids) < self.min_stages:
            raise UserError(
                f"{type(self).__name__} reads {self.min_stages} stages, but the backbone has "
                f"{len(grids)}; add stages"
            )

    def link(
        self,
        stage: int,
        before: jax.Array,
        after: jax.Array,
        mode: Mode,
        grids: Sequence[Grid],
    ) -> jax.Array:
        """Returns what stage `stage` (from 0) hands on; most heads leave its output as it is.

        Args:
            stage: 0 to 3.
            before: What the stage received: (B, h', w', D).
            after: What it computed: (B, h, w, C).
            mode: Training or inference.
            grids: Where the cells of each stage lie.
        """
        del stage, before, mode, grids
        return after


def conv1x1(x: jax.Array, features: int, name: str, *, use_bias: bool = True) -> jax.Array:
    """Convolves (B, h, w, C) to (B, h, w, features) position by position."""
    return conv(x, features, 1, name, use_bias=use_bias, init=uniform_fan_in)


def dense(x: jax.Array, features: int, name: str) -> tuple[jax.Array, jax.Array]:
    """Applies a dense layer to (B, C); returns (B, features) and its weights (C, features).

    It computes in float32 whatever the dtype of `x`: logits need more digits than features.
    """
    layer = nn.Dense(features, dtype=jnp.float32, kernel_init=uniform_fan_in, name=name)
    y = layer(x)
    return y, layer.variables["params"]["kernel"]


def class_activation_maps(features: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighs feature maps (B, h, w, C) by each class's weights (C, classes), without bias.

    Zhou et al. 2016, "Learning deep features for discriminative localization".

    Returns:
        (B, h, w, classes).
    """
    return jnp.einsum("bhwc,cf->bhwf", features, weights.astype(features.dtype))


def mean_probability(logits: jax.Array) -> jax.Array:
    """Averages probabilities over the first axis.

    Args:
        logits: (N, …), the log-odds of the probabilities.

    Returns:
        (…), the log-odds of their mean; finite for finite logits.
    """
    present = jax.nn.logsumexp(jax.nn.log_sigmoid(logits), axis=0)
    absent = jax.nn.logsumexp(jax.nn.log_sigmoid(-logits), axis=0)
    return present - absent
