"""Complete programs, each given one invalid file: one message, and nothing left behind."""

import os
import shutil
import subprocess
import sys

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.programs import REPOSITORY
from tests.torture.damage import with_long_line
from tests.torture.limits import campaign
from tests.torture.test_runs import write_run
from tests.torture.test_tables import BOXES, METADATA, RELEASE, SYSTEM

PROGRAMS = {
    "evaluate_auc --predictions=predictions.csv --release=release --out=out": (
        "predictions.csv",
        f"release/{METADATA}",
    ),
    "evaluate_boxes --boxes=boxes.csv --release=release --out=out": (
        "boxes.csv",
        f"release/{BOXES}",
    ),
    "compare predictions.csv other.csv --release=release": ("predictions.csv", f"release/{BOXES}"),
    "prepare --release=release --data_dir=out --image_size=32": (f"release/{METADATA}",),
    "report --workdirs=run --out=out": ("run/config.json",),
    "predict --workdir=run --out=predicted a.png": ("run/config.json", "a.png"),
    "convert_weights --source=a.safetensors --model=ResNet34 --out=out": ("a.safetensors",),
    "train --config=demo --config.seed=nan --data_dir=none --workdir=out": ("a.png",),
}
"""Command lines, and the files of which one is invalid."""

INVALID = st.sampled_from(list(PROGRAMS)).flatmap(
    lambda line: st.tuples(st.just(line), st.sampled_from(PROGRAMS[line]))
)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A folder of files that programs read."""
    folder = tmp_path_factory.mktemp("valid")
    (folder / "release").mkdir()
    for name, text in RELEASE.items():
        (folder / "release" / name).write_text(text)
    for name, text in SYSTEM.items():
        (folder / name).write_text(text)
    shutil.copy(folder / "predictions.csv", folder / "other.csv")
    write_run(folder / "run")
    return folder


@campaign(0.003)
@given(INVALID, st.data())
def test_invalid_file_is_answered_by_one_message(valid, tmp_path, invalid, data):
    line, name = invalid
    folder = tmp_path / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(valid, folder)
    file = folder / name
    text = file.read_text() if file.exists() else "?"
    garbage = (text.encode("utf-16"), text.replace(",", "\0", 3).encode()[:-3], bytes(300))
    file.write_bytes(data.draw(st.sampled_from(garbage) | with_long_line(text)))
    done = subprocess.run(
        [sys.executable, "-m", "jaxcxr.cli", *line.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2), done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()
