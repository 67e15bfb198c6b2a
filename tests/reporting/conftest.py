import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reporting.folders import IMAGES, write_run

MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run(tmp_path_factory) -> MakeRun:
    """Returns a function that makes the folder of a run; `seed` stands for its network."""

    @functools.cache
    def original(seed: int, images: tuple[str, ...]) -> Path:
        workdir = tmp_path_factory.mktemp("original") / "run"
        write_run(workdir, seed, images)
        return workdir

    def make(name: str = "baseline", *, seed: int = 0, images: tuple[str, ...] = IMAGES) -> Path:
        return shutil.copytree(original(seed, images), tmp_path_factory.mktemp("runs") / name)

    return make


@pytest.fixture(scope="session")
def three_runs(make_run) -> list[Path]:
    """Three complete runs; do not change them."""
    names = ["baseline", "space_attention", "attention_gated"]
    return [make_run(name, seed=seed) for seed, name in enumerate(names)]
