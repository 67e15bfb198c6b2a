"""Ten steps of Adam with L2 decay follow PyTorch's, batch norm in training mode."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is an extra: make test-torch installs it")

from jaxcxr.training.devices import device_mesh, shard_batch  # noqa: E402
from jaxcxr.training.objective import Objective  # noqa: E402
from jaxcxr.training.optimizers import Adam  # noqa: E402
from jaxcxr.training.state import create_state  # noqa: E402
from jaxcxr.training.steps import TrainStep, make_train_step  # noqa: E402
from tests.torch.cases import CASES, batch  # noqa: E402
from tests.torch.test_parity import nchw, pair, torch_loss  # noqa: E402

STEPS = 10


@pytest.mark.parametrize("head", ["baseline", "space_attention", "attention_gated"])
def test_ten_steps_have_pytorchs_losses(head, tmp_path):
    network, model, variables = pair(CASES[f"resnet18_{head}"], tmp_path)
    images, labels = batch()
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-2)
    theirs = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch_loss(network(nchw(images))[0], labels)
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())

    adam = Adam(learning_rate=1e-3, weight_decay=1e-2).transformation(STEPS, epochs=1)
    mesh = device_mesh(jax.devices()[:1])
    step = make_train_step(TrainStep(Objective(model), adam), mesh)
    rows = {"image": images, "labels": labels, "mask": np.ones(len(images), bool)}
    state, ours = create_state(jax.tree.map(jax.numpy.array, variables), adam), []
    for _ in range(STEPS):
        state, loss = step(state, shard_batch(rows, mesh))
        ours.append(float(np.asarray(loss)))
    assert theirs[-1] < 0.9 * theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
