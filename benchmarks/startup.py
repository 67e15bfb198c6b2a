"""Seconds that a user waits for a program: for its help, one radiograph, the first step, a report.

make demo && python -m benchmarks.startup --demo demo

Each program is started `--starts` times, as a fresh process, after one start with an empty folder
of compiled networks; it prints one JSON line with that first time and the median of the others.
`evaluate_auc` scores predictions drawn at random for a test list of the official one's size.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from absl import app, flags

from benchmarks.bootstrap import study
from benchmarks.machine import describe
from jaxcxr.data.phantom.release import BOX_HEADER, DATA_ENTRY_HEADER
from jaxcxr.evaluation import tables
from jaxcxr.findings import FINDINGS

_DEMO = flags.DEFINE_string("demo", "demo", "What make demo wrote.")
_STARTS = flags.DEFINE_integer("starts", 5, "How often each program is started.")
_ONLY = flags.DEFINE_list("only", [], "Names of the programs to start; default: all.")

_OTHERS = 112_120 - 25_596
"""Radiographs of the release that are not on the test list."""


def main(_: list[str]) -> None:
    """Measures and prints one JSON line per program."""
    with tempfile.TemporaryDirectory() as place:
        for name, words in programs(Path(_DEMO.value).absolute(), Path(place)).items():
            if _ONLY.value and name not in _ONLY.value:
                continue
            first, *warm = [seconds(words, Path(place), name) for _ in range(_STARTS.value + 1)]
            result = {"first": first, "median": statistics.median(warm), "others": sorted(warm)}
            print(json.dumps({"benchmark": "startup", "program": name, **result, **describe()}))


def programs(demo: Path, place: Path) -> dict[str, list[str]]:
    """Returns the command line of each program."""
    write_study(place / "study")
    shutil.copytree(demo / "localizer", place / "third")
    runs = f"{demo}/localizer,{demo}/baseline,{place}/third"
    radiograph = str(demo / "release/images/00000001_000.png")
    new = f"{place}/new"
    study_files = [f"--release={place}/study", f"--predictions={place}/study/predictions.csv"]
    train = [f"--data_dir={demo}/datasets", f"--workdir={new}", "--import=benchmarks/first_step.py"]
    return {
        "help": ["--help"],
        "help of predict": ["predict", "--help"],
        "predict": ["predict", f"--model={demo}/baseline", f"--out={new}", radiograph],
        "predict, LayerCAM": ["predict", f"--model={demo}/localizer", f"--out={new}", radiograph],
        "train to first step": ["train", "--config=demo_baseline", *train],
        "evaluate_auc": ["evaluate_auc", *study_files, "--split=test", f"--out={new}"],
        "report": ["report", f"--workdirs={runs}", f"--out={new}.html"],
    }


def write_study(folder: Path) -> None:
    """Writes a release of 112,120 records and predictions for its 25,596 of the test list."""
    labels, scores, patients = study()
    rng = np.random.default_rng(0)
    patients = np.concatenate(
        [patients, patients.max() + 1 + np.sort(rng.integers(28_000, size=_OTHERS))]
    )
    known = [[name for name, has in zip(FINDINGS, row, strict=True) if has] for row in labels]
    rows = known + [[]] * _OTHERS
    count = pd.Series(patients).groupby(patients).cumcount()
    names = [f"{who + 1:08}_{number:03}.png" for who, number in zip(patients, count, strict=True)]
    ages = rng.integers(1, 95, size=len(names))
    entries = [
        f"{name},{'|'.join(row) or 'No Finding'},{number},{who + 1},{age},{sex},{view},1,1,0.1,0.1"
        for name, row, number, who, age, sex, view in zip(
            names,
            rows,
            count,
            patients,
            ages,
            rng.choice(["F", "M"], len(names)),
            rng.choice(["PA", "AP"], len(names)),
            strict=True,
        )
    ]
    folder.mkdir()
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([DATA_ENTRY_HEADER, *entries]))
    (folder / "BBox_List_2017.csv").write_text(BOX_HEADER)
    (folder / "test_list.txt").write_text("\n".join(names[: len(labels)]))
    (folder / "train_val_list.txt").write_text("\n".join(names[len(labels) :]))
    table = pd.DataFrame(1 / (1 + np.exp(-scores)), columns=list(FINDINGS))
    table.insert(0, tables.IMAGE, names[: len(labels)])
    tables.write(table, folder / "predictions.csv")


def seconds(words: list[str], place: Path, name: str) -> float:
    """Starts a program and returns how long it ran."""
    for path in place.glob("new*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment["XDG_CACHE_HOME"] = str(place / "cache" / name)
    began = time.perf_counter()
    command = [sys.executable, "-m", "jaxcxr.cli", *words]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    app.run(main)
