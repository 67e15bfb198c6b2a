"""What PyTorch computed (`tests/torch/make_golden.py`) is computed here."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcxr.models import build_classifier, normalize
from jaxcxr.models.weights.pretrained import load_classifier, to_torch
from jaxcxr.models.weights.torch_files import write_torch_file
from jaxcxr.training.losses import weighted_cross_entropy
from tests.torch.cases import CASES, COMPILE_QUICKLY, batch

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", CASES)
def test_logits_heat_maps_and_gradients_are_pytorchs(name, tmp_path):
    golden = dict(np.load(GOLDEN / f"{name}.npz"))
    state = {
        key.removeprefix("state/"): array
        for key, array in golden.items()
        if key.startswith("state/")
    }
    write_torch_file(tmp_path / "network.safetensors", state)
    model = build_classifier(CASES[name])
    variables = load_classifier(tmp_path / "network.safetensors", model)
    images, labels = batch()

    def loss(params):
        statistics = variables["batch_stats"]
        prediction = model.apply({"params": params, "batch_stats": statistics}, normalize(images))
        return weighted_cross_entropy(prediction.logits, labels), prediction

    gradients, prediction = jax.jit(jax.grad(loss, has_aux=True), compiler_options=COMPILE_QUICKLY)(
        variables["params"]
    )
    np.testing.assert_allclose(prediction.logits, golden["logits"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(prediction.heatmaps, golden["heatmaps"], atol=1e-4, rtol=0)
    named = to_torch({"params": gradients}, CASES[name]["backbone"]["name"])
    assert named.keys() == {key.removeprefix("gradient/") for key in golden if "gradient/" in key}
    for key, gradient in named.items():
        expected = golden[f"gradient/{key}"]
        error, allowed = np.linalg.norm(gradient - expected), 1e-3 * np.linalg.norm(expected)
        assert error <= allowed, f"{key} is off by {error}"
