"""A tiny network and tiny data to train it on, in memory and as programs read them."""

from pathlib import Path

import numpy as np
import pytest

from jaxcxr.data.arrays import ArraySplit
from jaxcxr.models import Baseline, Classifier, ResNet18

TINY_CONFIG = """
from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    config = default_config()
    config.model.backbone = {"name": "ResNet18", "width": 4, "blocks": (1, 1, 1)}
    config.initial_weights = "random"
    config.data.image_size = 64
    config.batch_size = 8
    return config
"""


@pytest.fixture(scope="session")
def tiny_model() -> Classifier:
    return Classifier(ResNet18(blocks=(1, 1), width=4), Baseline())


def make_split(images: int, seed: int = 0, size: int = 16) -> ArraySplit:
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, 14)) < 0.3).astype(np.uint8)
    noise = rng.integers(0, 100, (images, size, size, 1))
    bright = 100 * labels[:, :1, None, None]  # the first finding is a brighter image
    return ArraySplit((noise + bright).astype(np.uint8), labels)


def tiny_study(place: Path, images: int = 60) -> None:
    """Writes `tiny.py`, a config, to a folder, and a prepared phantom of 64×64 pixels."""
    from jaxcxr.data import phantom, prepare, read_release

    (place / "tiny.py").write_text(TINY_CONFIG)
    phantom.write_release(place / "release", images, 64, seed=0, jobs=1)
    prepare(read_release(place / "release"), place, image_size=64)
