"""A tiny network, tiny data to train it on, and a tiny study for the programs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.data.arrays import ArraySplit
from jaxcxr.models import Baseline, Classifier, ResNet18

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def tiny_model() -> Classifier:
    return Classifier(ResNet18(blocks=(1, 1), width=4), Baseline())


def make_split(images: int, seed: int = 0, size: int = 16) -> ArraySplit:
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, 14)) < 0.3).astype(np.uint8)
    noise = rng.integers(0, 100, (images, size, size, 1))
    bright = 100 * labels[:, :1, None, None]  # the first finding is a brighter image
    return ArraySplit((noise + bright).astype(np.uint8), labels)


CONFIG = """
from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    config = default_config()
    config.model.backbone = {"name": "ResNet18", "width": 4, "blocks": (1, 1, 1)}
    config.initial_weights = "random"
    config.data.image_size = 64
    config.batch_size = 8
"""


def launch(program: str, *arguments: object) -> list[str]:
    """Returns the command line of a program."""
    return [sys.executable, str(REPOSITORY / f"launch/{program}.py"), *map(str, arguments)]


def prepare_study(place: Path, images: int, config: str) -> None:
    """Prepares a phantom of 64 pixels in a folder, and `tiny.py`: `CONFIG` and a few lines more."""
    (place / "tiny.py").write_text(f"{CONFIG}{config}    return config\n")
    release = place / "release"
    for command in (
        launch("make_phantom", f"--out={release}", f"--images={images}", "--image_size=64"),
        launch("prepare", f"--release={release}", f"--data_dir={place}", "--image_size=64"),
    ):
        subprocess.run(command, check=True, capture_output=True)
