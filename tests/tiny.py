"""A tiny network and tiny data to train it on."""

import numpy as np
import pytest

from jaxcxr.data.arrays import ArraySplit
from jaxcxr.models import Baseline, Classifier, ResNet18


@pytest.fixture(scope="session")
def tiny_model() -> Classifier:
    return Classifier(ResNet18(blocks=(1, 1), width=4), Baseline())


def make_split(images: int, seed: int = 0, size: int = 16) -> ArraySplit:
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, 14)) < 0.3).astype(np.uint8)
    noise = rng.integers(0, 100, (images, size, size, 1))
    bright = 100 * labels[:, :1, None, None]  # the first finding is a brighter image
    return ArraySplit((noise + bright).astype(np.uint8), labels)
