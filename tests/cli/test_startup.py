"""How programs start: what they import, and where they keep compiled networks."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import jaxcxr as cxr
from jaxcxr.cli import VERBS, compilation_cache
from jaxcxr.training.state import initial_variables
from tests.programs import forked

LARGE = ("jax", "flax", "optax", "orbax", "tensorflow", "sklearn", "matplotlib", "huggingface_hub")


def jaxcxr(*words, **environment):
    """Runs `jaxcxr` as the first program of a user, whom nobody gave a folder for the cache."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return subprocess.run(
        [sys.executable, "-m", "jaxcxr.cli", *map(str, words)],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_help_imports_none_of_the_large_packages():
    done = jaxcxr("--help", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "jaxcxr.cli" in imported
    assert imported.isdisjoint({*LARGE, "numpy", "pandas", "scipy", "absl"})


def test_help_of_every_verb_imports_none_of_the_large_packages():
    with forked(absent=LARGE) as launch:
        for verb in VERBS:
            done = launch(verb, "--help")
            assert done.returncode == 0, done.stderr
            assert "flags:" in done.stdout


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    place = tmp_path_factory.mktemp("predict")
    model = cxr.Classifier(cxr.ResNet18(blocks=(1,), width=4), cxr.Baseline())
    cxr.Predictor(model, initial_variables(model, 32, seed=0), 32).save(place / "model")
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(place / "radiograph.png")

    def predict(cache):
        out = place / f"predicted{len(list(place.iterdir()))}"
        return jaxcxr(
            *("predict", f"--model={place}/model", f"--out={out}", place / "radiograph.png"),
            XDG_CACHE_HOME=str(cache),
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            JAX_DEBUG_LOG_MODULES="jax._src.compiler",
        )

    return predict


def test_second_program_loads_the_networks_that_the_first_compiled(predict, tmp_path):
    hit = "Persistent compilation cache hit for 'jit_apply'"
    assert hit not in predict(tmp_path).stderr
    compiled = [path.relative_to(tmp_path).parts for path in tmp_path.rglob("jit_apply-*")]
    assert [parts[:2] for parts in compiled] == [("jaxcxr", "compiled")]
    assert hit in predict(tmp_path).stderr
    for entry in tmp_path.rglob("jit_apply-*"):
        entry.write_bytes(entry.read_bytes()[:100])  # as a killed program leaves it
    done = predict(tmp_path)
    assert "1 radiograph predicted" in done.stdout
    assert "Error" not in done.stderr


def test_cache_folder_that_cannot_be_made_changes_nothing(predict, tmp_path):
    (tmp_path / "file").touch()
    done = predict(tmp_path / "file")
    assert "1 radiograph predicted" in done.stdout
    assert "cache" not in done.stderr


@pytest.fixture
def environment(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", {"XDG_CACHE_HOME": str(tmp_path)})
    return os.environ


def test_folder_of_ones_own_stays(environment):
    for chosen in ("", "/scratch/jax"):
        environment["JAX_COMPILATION_CACHE_DIR"] = chosen
        compilation_cache.keep_compiled_networks()
        assert environment["JAX_COMPILATION_CACHE_DIR"] == chosen


def test_oldest_compiled_networks_are_removed(environment, monkeypatch, tmp_path):
    monkeypatch.setattr(compilation_cache, "_MAX_BYTES", 25)
    folder = tmp_path / "jaxcxr" / "compiled" / "processor"
    folder.mkdir(parents=True)
    for time, name in enumerate(["c", "a", "b"]):
        (folder / name).write_bytes(bytes(10))
        os.utime(folder / name, (time, time))
    compilation_cache.keep_compiled_networks()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_programs_that_a_program_starts_do_not_warn_of_damaged_entries_either(environment):
    compilation_cache.keep_compiled_networks()
    code = "import warnings; warnings.warn('Error reading persistent compilation cache')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stderr == b""


def test_full_disk_is_left_alone(environment, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_MIN_FREE_BYTES", 2**80)
    compilation_cache.keep_compiled_networks()
    assert "JAX_COMPILATION_CACHE_DIR" not in environment
