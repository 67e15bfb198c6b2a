"""A network with side logits learns from the mean of their losses."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcxr.models import Prediction, normalize
from jaxcxr.training.devices import device_mesh, shard_batch
from jaxcxr.training.losses import binary_cross_entropy
from jaxcxr.training.objective import Objective
from jaxcxr.training.state import create_state, initial_variables
from jaxcxr.training.steps import TrainStep, make_train_step
from tests.tiny import make_split


class TwoLogits(nn.Module):
    """A dense layer and a second one that only a side loss trains; batch norm keeps Flax happy."""

    normalize = staticmethod(normalize)

    @nn.compact
    def __call__(self, images, mode=None):
        x = nn.BatchNorm(use_running_average=True, use_scale=False, use_bias=False)(images.mean(1))
        x = x.reshape(len(images), -1)
        first, second = (nn.Dense(14, name=name)(x) for name in ("first", "second"))
        if not self.is_initializing():
            self.sow("side_logits", "logits", first)
            self.sow("side_logits", "logits", second)
        return Prediction(first, first[:, None, None])


def test_side_logits_train_every_classifier():
    model, split = TwoLogits(), make_split(4)
    batch = next(split.batches(4))
    variables = initial_variables(model, 16, seed=0)
    before = jax.tree.map(np.array, variables["params"])
    transformation = optax.sgd(1.0)
    mesh = device_mesh(jax.devices()[:1])
    objective = Objective(model, binary_cross_entropy)
    step = make_train_step(TrainStep(objective, transformation), mesh)
    state, total = step(create_state(variables, transformation), shard_batch(batch, mesh))

    def loss_of(params):
        images = normalize(jnp.asarray(batch["image"]))
        x = np.asarray(images.mean(1)).reshape(4, -1) / np.sqrt(1 + 1e-5)
        logits = [x @ params[name]["kernel"] + params[name]["bias"] for name in ("first", "second")]
        loss = functools.partial(binary_cross_entropy, labels=batch["labels"], mask=batch["mask"])
        return (loss(logits[0]) + loss(logits[1])) / 2

    expected, gradients = jax.value_and_grad(loss_of)(before)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    moved = jax.tree.map(lambda old, g: old - g, before, gradients)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), state.params, moved
    )
