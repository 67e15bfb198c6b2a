"""Five training steps on as many simulated devices as asked for; prints what they gave as JSON.

A program of its own because the number of CPU devices is fixed when JAX starts.
"""

import json
import sys

import jax

jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))

from jaxcxr.data.arrays import ArraySplit  # noqa: E402
from jaxcxr.models import Baseline, Classifier, ResNet18  # noqa: E402
from jaxcxr.training.losses import weighted_cross_entropy  # noqa: E402
from jaxcxr.training.optimizers import Adam  # noqa: E402
from jaxcxr.training.state import create_state, initial_variables  # noqa: E402
from jaxcxr.training.steps import (  # noqa: E402
    device_mesh,
    make_loss_step,
    make_train_step,
    shard_batch,
)
from tests.tiny import make_split  # noqa: E402

model = Classifier(ResNet18(blocks=(1, 1), width=4), Baseline())
data: ArraySplit = make_split(40)
mesh = device_mesh()
assert mesh.size == int(sys.argv[1])
transformation = Adam(1e-3, weight_decay=1e-4).transformation(5, 1)
step = make_train_step(model, transformation, mesh, loss=weighted_cross_entropy)
state = create_state(initial_variables(model, data.image_size, seed=0), transformation)
losses = []
for batch in data.batches(8, seed=0):
    state, loss = step(state, shard_batch(batch, mesh))
    losses.append(float(loss))
validation = make_loss_step(model, mesh, loss=weighted_cross_entropy)
*_, padded = make_split(12, seed=1).batches(8)
value, count = validation(state.variables, shard_batch(padded, mesh))
norms = [float(jax.numpy.linalg.norm(leaf)) for leaf in jax.tree.leaves(state.variables)]
print(json.dumps({"losses": losses, "norms": norms, "validation": [float(value), int(count)]}))
