"""The mapped step: one device or eight, the same numbers."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcxr.errors import UserError
from jaxcxr.models import Mode, normalize
from jaxcxr.training.devices import device_mesh, shard_batch
from jaxcxr.training.losses import weighted_cross_entropy
from jaxcxr.training.objective import Objective
from jaxcxr.training.optimizers import Adam
from jaxcxr.training.state import create_state, initial_variables
from jaxcxr.training.steps import TrainStep, make_train_step
from tests.tiny import make_split

REPOSITORY = Path(__file__).parents[2]


def run_five_steps(devices: int) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.five_steps", str(devices)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_eight_devices_agree_with_one_for_built_in_and_own_losses():
    one, eight = run_five_steps(1), run_five_steps(8)
    assert one.keys() == {"weighted_cross_entropy", "own_loss"}
    for loss in one:
        gradients = np.array(one[loss]["gradients"])
        error = np.linalg.norm(eight[loss]["gradients"] - gradients)
        assert error < 2e-6 * np.linalg.norm(gradients)  # float32 sums in another order
        for name in ("losses", "norms", "validation"):
            np.testing.assert_allclose(eight[loss][name], one[loss][name], rtol=1e-5)


def test_step_is_the_plain_gradient_step(tiny_model):
    data = make_split(8)
    batch = next(data.batches(8, seed=0))
    variables = initial_variables(tiny_model, data.image_size, seed=0)
    transformation = Adam(1e-3).transformation(1, 1)
    mesh = device_mesh(jax.devices()[:1])

    def loss_of(params):
        prediction, _ = tiny_model.apply(
            {**variables, "params": params},
            normalize(batch["image"]),
            Mode(train=True),
            mutable=["batch_stats"],
        )
        return weighted_cross_entropy(prediction.logits, batch["labels"])

    expected_loss, gradient = jax.jit(jax.value_and_grad(loss_of))(variables["params"])
    updates, _ = jax.jit(transformation.update)(
        gradient, transformation.init(variables["params"]), variables["params"]
    )
    expected = jax.tree.map(lambda p, u: np.asarray(p + u), variables["params"], updates)

    step = make_train_step(TrainStep(Objective(tiny_model), transformation), mesh)
    state, loss = step(create_state(variables, transformation), shard_batch(batch, mesh))
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6),
        state.params,
        expected,
    )
    assert state.step == 1


def test_batch_that_does_not_divide_is_refused():
    class FourDevices:
        size = 4

    with pytest.raises(UserError, match=r"6 images .* 4 devices; use a batch size of 4 or 8"):
        shard_batch({"image": np.zeros((6, 4, 4, 1))}, FourDevices())
