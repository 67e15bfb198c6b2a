"""The state that a training step updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcxr.models import Classifier
from jaxcxr.training.devices import made_once

Variables = dict[str, Any]
"""The collections `params` and `batch_stats` of a Flax module."""


class TrainState(flax.struct.PyTreeNode):
    """State of a training, the same on every device.

    Attributes:
        step: int32 scalar, optimizer steps done.
        params: float32 parameters of the classifier.
        batch_stats: float32 running means and variances of its batch norms.
        opt_state: State of the Optax transformation.
        average: Exponential moving average of params and batch_stats, or None where none is kept.
        best: The collections to predict with as they were after the best epoch, or None where only
            the latest are asked for.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    average: Variables | None = None
    best: Variables | None = None

    @property
    def variables(self) -> Variables:
        """The collections that the next step starts from."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def evaluated(self) -> Variables:
        """The collections to validate and predict with: the average where one is kept."""
        return self.variables if self.average is None else self.average


def initial_variables(model: Classifier, image_size: int, seed: int) -> Variables:
    """Draws the variables of `model` for radiographs of `image_size` pixels from `seed`."""
    return dict(_make_draw(model, image_size)(jax.random.key(seed)))


@made_once
def _make_draw(model: Classifier, image_size: int) -> Callable[[jax.Array], Any]:
    radiograph = np.zeros((1, image_size, image_size, 1), np.uint8)  # kept, so not of a trace
    return jax.jit(lambda key: model.init(key, model.normalize(jnp.asarray(radiograph))))


def count_parameters(model: Classifier, image_size: int) -> int:
    """Returns the number of trainable numbers of `model`, frozen ones included."""
    params = jax.eval_shape(lambda: initial_variables(model, image_size, seed=0))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def create_state(
    variables: Variables,
    transformation: optax.GradientTransformation,
    *,
    averaged: bool = False,
    keeps_best: bool = False,
) -> TrainState:
    """Returns the state before the first step.

    Args:
        variables: To start from.
        transformation: Of the gradients.
        averaged: Whether to keep a moving average.
        keeps_best: Whether to keep the variables of the best epoch.
    """

    def copied(wanted: bool) -> Variables | None:
        return jax.tree.map(jnp.copy, dict(variables)) if wanted else None

    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=transformation.init(variables["params"]),
        average=copied(averaged),
        best=copied(keeps_best),
    )
