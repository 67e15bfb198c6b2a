"""Prints as JSON the results of five training steps on the given number of simulated devices.

A program of its own because the number of CPU devices is fixed when JAX starts.
"""

import json
import sys

import jax

jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from jaxcxr.data.arrays import ArraySplit  # noqa: E402
from jaxcxr.models import Baseline, Classifier, ResNet18  # noqa: E402
from jaxcxr.training.devices import (  # noqa: E402
    BY_ROWS,
    EVERYWHERE,
    device_mesh,
    map_over_devices,
    shard_batch,
)
from jaxcxr.training.losses import weighted_cross_entropy  # noqa: E402
from jaxcxr.training.objective import Objective  # noqa: E402
from jaxcxr.training.optimizers import Adam  # noqa: E402
from jaxcxr.training.state import create_state, initial_variables  # noqa: E402
from jaxcxr.training.steps import TrainStep, make_train_step  # noqa: E402
from jaxcxr.training.validation import Validation  # noqa: E402
from tests.tiny import make_split  # noqa: E402


def own_loss(logits, labels, mask):
    """A plain function of the global batch in which every pair of its images takes part."""
    p = jax.nn.sigmoid(logits)
    pairs = jnp.maximum(0, 1 - p[:, None] + p[None])  # (B, B, K)
    valid = (labels[:, None] > labels[None]) & mask[:, None, None] & mask[None, :, None]
    return jnp.where(valid, pairs, 0).sum() / valid.sum()


model = Classifier(ResNet18(blocks=(1, 1), width=4), Baseline())
data: ArraySplit = make_split(40)
mesh = device_mesh()
assert mesh.size == int(sys.argv[1])
transformation = Adam(1e-3, weight_decay=1e-4).transformation(5, 1)
results = {}
for loss in (weighted_cross_entropy, own_loss):
    objective = Objective(model, loss)
    state = create_state(initial_variables(model, data.image_size, seed=0), transformation)
    batches = [shard_batch(batch, mesh) for batch in data.batches(8, seed=0)]
    gradients_of = map_over_devices(objective.with_gradients, mesh, (EVERYWHERE, BY_ROWS))
    _, gradients, _ = gradients_of(state, batches[0])
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradients)])
    step, losses = make_train_step(TrainStep(objective, transformation), mesh), []
    for batch in batches:
        state, value = step(state, batch)
        losses.append(float(value))
    validation = Validation(make_split(21, seed=1), model, loss, {}, batch_size=8, mesh=mesh)
    scores, _ = validation(state.variables, lambda: None)
    results[loss.__name__] = {
        "losses": losses,
        "gradients": flat.tolist(),
        "norms": [float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(state.variables)],
        "validation": scores["val_loss"],
    }
print(json.dumps(results))
