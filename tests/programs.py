"""Programs, started as users start them, and a tiny study for them to work on."""

from __future__ import annotations

import sys
from pathlib import Path

from jaxcxr.data import prepare, read_release
from jaxcxr.data.phantom import write_release

REPOSITORY = Path(__file__).parents[1]

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


def command(verb: str, *words: str) -> list[str]:
    """Returns the command line of a program."""
    return [sys.executable, str(REPOSITORY / f"launch/{verb}.py"), *words]


def tiny_study(place: Path, images: int = 60) -> None:
    """Writes `tiny.py`, a config, to a folder, and a prepared phantom of 64×64 pixels."""
    (place / "tiny.py").write_text(TINY_CONFIG)
    write_release(place / "release", images, 64, seed=0, jobs=1)
    prepare(read_release(place / "release"), place, image_size=64)
