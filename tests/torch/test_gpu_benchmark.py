"""The benchmark for GPUs, dry: each part writes its lines, on a machine without TensorFlow."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is an extra: make test-torch installs it")

ABSENT = ("tensorflow", "tensorflow_datasets", "ml_collections", "tqdm", "matplotlib")


def dry_run(place, *flags, absent=ABSENT):
    # As `sitecustomize`, it also holds for the processes that the program starts.
    blocked = f"import sys\nfor name in {absent}:\n    sys.modules[name] = None\n"
    (place / "sitecustomize.py").write_text(blocked)
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry_run", f"--out={place}", *flags]
    environment = os.environ | {"PYTHONPATH": f"{place}{os.pathsep}{os.getcwd()}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    (file,) = place.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(line["versions"] and line["date"] for line in lines)
    return done, lines


@pytest.mark.slow  # a minute; make test-torch runs it
def test_dry_run_measures_every_part(tmp_path):
    done, lines = dry_run(tmp_path, "--networks=baseline", "--minutes=30")
    assert done.returncode == 0, done.stdout + done.stderr
    by_part = {}
    for line in lines:
        assert not line.keys() & {"error", "skipped"}
        by_part.setdefault(line["part"], []).append(line)
    assert list(by_part) == [
        "check",
        "training",
        "inference",
        "epochs",
        "profile",
        "max_autotune",
        "variants",
    ]
    ways = {"ours", "default", "reduce-overhead"}
    for part in ("training", "inference"):
        (line,) = by_part[part]
        assert line["ratio"] > 0
        assert line["unit_per_second"].keys() == ways
    assert by_part["epochs"][0]["ratio"].keys() == {"device", "host", "streamed", "step"}
    assert by_part["profile"][0]["top_kernels_ms"]
    assert (tmp_path / "tiny_baseline.hlo.gz").exists()


def test_part_that_fails_leaves_its_error_and_the_next_follows(tmp_path):
    done, lines = dry_run(tmp_path, "--parts", "profile", "epochs", absent=("jax",))
    assert done.returncode == 1
    assert [line["part"] for line in lines] == ["profile", "epochs"]
    assert all("import of jax halted" in line["error"] for line in lines)


def test_part_that_no_longer_fits_into_the_time_is_skipped(tmp_path):
    done, lines = dry_run(tmp_path, "--parts", "inference", "profile", "--minutes=0.1")
    assert done.returncode == 0
    assert [line["part"] for line in lines] == ["inference", "inference", "profile"]
    assert all("s were left" in line["skipped"] for line in lines)
