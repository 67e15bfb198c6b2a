"""What a training step reads and renews."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxcxr.models import Classifier, normalize

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
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    average: Variables | None = None

    @property
    def variables(self) -> Variables:
        """The collections that training goes on with."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def evaluated(self) -> Variables:
        """The collections to validate and predict with: the average where one is kept."""
        return self.variables if self.average is None else self.average


def initial_variables(model: Classifier, image_size: int, seed: int) -> Variables:
    """Draws the variables of `model` for radiographs of `image_size` pixels from `seed`."""
    radiograph = jnp.zeros((1, image_size, image_size, 1), jnp.uint8)
    draw = jax.jit(lambda key: model.init(key, normalize(radiograph)))
    return dict(draw(jax.random.key(seed)))


def count_parameters(model: Classifier, image_size: int) -> int:
    """Returns the number of trainable numbers of `model`, frozen ones included."""
    radiograph = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), radiograph)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def create_state(
    variables: Variables, transformation: optax.GradientTransformation, *, averaged: bool = False
) -> TrainState:
    """Returns the state before the first step; `averaged` tells whether to keep an average."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=transformation.init(variables["params"]),
        average=jax.tree.map(jnp.copy, variables) if averaged else None,
    )
