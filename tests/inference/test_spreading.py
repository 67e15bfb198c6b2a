"""Batches over several devices: each computes its share, and the results are those of one."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.inference.gradcam import layer_cam
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import Baseline, Classifier, ResNet18

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), np.uint8)
"""Of a number that three devices cannot share evenly."""


def outputs():
    model = Classifier(ResNet18(blocks=(1, 1, 1), width=4), Baseline())
    variables = jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, 32, 32, 3)))
    predictor = Predictor(model, variables, 32)
    probabilities, heatmaps = predictor(IMAGES)
    _, explained = layer_cam(predictor, [2, 3])(IMAGES)
    return {"p": probabilities, "maps": heatmaps.values, "explained": explained.values}


def test_devices_share_a_batch(tmp_path):
    file = tmp_path / "three.npz"
    subprocess.run(
        [sys.executable, "-m", "tests.inference.on_three_devices", str(file)], check=True
    )
    with np.load(file) as three:
        assert three["rows"].tolist() == [2]
        np.testing.assert_array_equal(three["spread"], IMAGES[:, 0].astype(np.float32) + 1)
        for name, one in outputs().items():
            assert three[name].shape == one.shape
            np.testing.assert_allclose(three[name], one, rtol=1e-5, atol=1e-5)
