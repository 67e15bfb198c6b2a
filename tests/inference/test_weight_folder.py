"""Folders of weights serve where a run's folder does."""

import logging

import jax
import numpy as np
import pytest

from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import Baseline, Classifier, ResNet18, classifier_config, normalize
from jaxcxr.models.weights.weight_folder import save_weight_folder
from jaxcxr.runs.workdir import read_variant
from jaxcxr.training.state import initial_variables

MODEL = Classifier(ResNet18(blocks=(1, 1), width=2), Baseline(pooling="lse", lse_positions="side"))


@pytest.fixture
def folder(tmp_path):
    save_weight_folder(
        tmp_path / "weights", classifier_config(MODEL), initial_variables(MODEL, 64, seed=1)
    )
    return tmp_path / "weights"


def test_predictor_of_a_weight_folder_has_its_network_and_the_studys_image_size(folder, caplog):
    with caplog.at_level(logging.WARNING):
        predictor = Predictor.from_run(folder)
    assert "the study's 256 pixels are used" in caplog.text
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 1), np.uint8)
    expected = MODEL.apply(initial_variables(MODEL, 64, seed=1), normalize(images))
    np.testing.assert_allclose(predictor(images)[0], jax.nn.sigmoid(expected.logits), atol=1e-5)


def test_variant_of_a_weight_folder_is_the_studys(folder):
    assert read_variant(folder).image_size == 256
