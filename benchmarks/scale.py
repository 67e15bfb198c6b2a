"""Time and memory of the programs with once, twice and four times as many radiographs.

python -m benchmarks.scale --out DIR --records 30000

Phantoms are drawn once. A release of more has each several times: hard links to the files, as other
patients in the lists. Every program runs as its user starts it. Seconds are those of the processor
(user and system, all threads), which other programs on the machine disturb less than the clock's;
those of `read` are the clock's. Memory is the peak of the largest process. Writes DIR/scale.csv and
DIR/scale.png beside what the programs write; a row of scale.csv is not measured again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import app, flags
from matplotlib.figure import Figure

from benchmarks.machine import describe
from jaxcxr.findings import FINDINGS

_OUT = flags.DEFINE_string("out", None, "Folder of the results.", required=True)
_RECORDS = flags.DEFINE_integer("records", 30_000, "Radiographs at 1×; predict gets a 30th.")
_TIMES = flags.DEFINE_list("times", ["1", "2", "4"], "How many times as many.")
_DRAWN = flags.DEFINE_integer("drawn", 500, "Phantoms to draw; --records is a multiple.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "Pixels, of files and prepared radiographs.")
_WIDTH = flags.DEFINE_integer("width", 8, "Channels of the first of the network's two stages.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Radiographs per training step.")
_PARTS = flags.DEFINE_list("parts", [], "Parts to measure, each after prepare; default: all.")

_LAUNCH = Path(__file__).parents[1] / "launch"
_DEVICES = 8

_READ = """
import json, sys, time
import jaxcxr.data.quiet_tensorflow  # imports TensorFlow before the clock starts
from jaxcxr import data
start = time.perf_counter()
split = data.load(sys.argv[1], int(sys.argv[2])).train
next(split.batches(int(sys.argv[3]), seed=0))
seconds = {"first_batch": time.perf_counter() - start}
for processes in (1, 8):
    start = time.perf_counter()
    for _ in split.batches(int(sys.argv[3]), seed=0, process_count=processes):
        pass
    seconds[f"epoch_of_{processes}"] = time.perf_counter() - start
print(json.dumps({"radiographs": split.num_images, **seconds}))
"""
"""Reads an epoch as the only process, and as one of eight."""


def run(*commands: Sequence[object], log: Path, xla_flags: str = "") -> dict[str, float]:
    """Runs programs side by side; returns seconds of all and the peak memory of the largest."""
    environment = os.environ | ({"XLA_FLAGS": xla_flags} if xla_flags else {})
    start = time.perf_counter()
    with log.open("w") as file:
        started = [
            subprocess.Popen([*map(str, command)], stdout=file, stderr=file, env=environment)
            for command in commands
        ]
        ended = [os.wait4(process.pid, 0) for process in started]
    clock = time.perf_counter() - start
    if any(status for _, status, _ in ended):
        raise SystemExit(f"error: {commands[0][1]} failed:\n{log.read_text()}")
    usage = [used for _, _, used in ended]
    return {
        "processor_seconds": round(sum(used.ru_utime + used.ru_stime for used in usage), 2),
        "clock_seconds": round(clock, 2),
        "peak_mib": max(used.ru_maxrss for used in usage) // 1024,
    }


def launch(verb: str, *words: object) -> list[object]:
    """Returns the command line of a program."""
    return [sys.executable, _LAUNCH / f"{verb}.py", *words]


def grow_release(drawn: Path, target: Path, copies: int) -> None:
    """Writes a release that has each phantom of another one `copies` times."""
    (target / "images").mkdir(parents=True)
    shutil.copy(drawn / "phantom.json", target)
    for path in (*drawn.glob("*.csv"), *drawn.glob("*.txt")):
        lines = path.read_text().splitlines()
        header = lines[: path.suffix == ".csv"]
        rows = [row_of_copy(row, n) for n in range(copies) for row in lines[len(header) :]]
        (target / path.name).write_text("\n".join([*header, *rows]) + "\n")
    for image in (drawn / "images").iterdir():
        for n in range(copies):
            os.link(image, target / "images" / row_of_copy(image.name, n))


def row_of_copy(row: str, n: int) -> str:
    """Returns the n-th copy of a list's row: an image's name, and in one list the patient, too."""
    name, *fields = row.split(",")
    patient, _, visit = name.partition("_")
    number = int(patient) + 10_000 * n
    if len(fields) == 10:  # of Data_Entry
        fields[2] = str(number)
    return ",".join([f"{number:08}_{visit}", *fields])


class Study:
    """The programs, on `times` as many radiographs; each part returns what was measured."""

    def __init__(self, place: Path, times: int) -> None:
        self.records = times * _RECORDS.value
        self.place = place / str(self.records)
        self.release, self.data, self.run = (
            self.place / name for name in ("release", "data", "run")
        )
        if not self.release.exists():
            grow_release(place / "drawn", self.release, self.records // _DRAWN.value)

    def prepare(self) -> dict[str, Any]:
        """Prepares the release."""
        shutil.rmtree(self.data, ignore_errors=True)
        done = self._run(launch("prepare", f"--release={self.release}", *self._data))
        return {"images": self.records, **done}

    def read(self) -> dict[str, Any]:
        """Reads the training split, as one process and as one of eight."""
        words = [sys.executable, "-c", _READ, self.data, _IMAGE_SIZE.value, _BATCH_SIZE.value]
        done = self._run(words)
        printed = self._log.read_text().splitlines()  # warnings of TensorFlow, too
        seconds = json.loads(next(line for line in printed if line.startswith("{")))
        return {"images": seconds.pop("radiographs"), **done, **seconds}

    def train(self) -> dict[str, Any]:
        """Trains an epoch on one device."""
        return self._train(self.run)

    def train_on_8_devices(self) -> dict[str, Any]:
        """Trains an epoch on eight simulated devices of one process."""
        return self._train(self.place / "run_8", devices=_DEVICES)

    def train_in_2_processes(self) -> dict[str, Any]:
        """Trains an epoch on four simulated devices of each of two processes."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return self._train(
            self.place / "run_2x4",
            *(
                (f"--coordinator=127.0.0.1:{port}", "--processes=2", f"--process={n}")
                for n in range(2)
            ),
            devices=_DEVICES // 2,
        )

    def _train(self, run_: Path, *words: Sequence[str], devices: int = 1) -> dict[str, Any]:
        shutil.rmtree(run_, ignore_errors=True)
        settings = {
            "data.image_size": _IMAGE_SIZE.value,
            "model.backbone.width": _WIDTH.value,
            "model.backbone.blocks": "(1, 1)",
            "epochs": 1,
            "batch_size": _BATCH_SIZE.value,
        }
        command = launch(
            "train",
            "--config=demo_baseline",
            f"--data_dir={self.data}",
            f"--workdir={run_}",
            *(f"--config.{name}={value}" for name, value in settings.items()),
        )
        flag = f"--xla_force_host_platform_device_count={devices}"
        done = self._run(*([*command, *own] for own in words or [()]), xla_flags=flag)
        loss = pd.read_csv(run_ / "history.csv")["val_loss"].iloc[-1]
        return {"images": self.records, **done, "val_loss": loss}

    def evaluate_model(self) -> dict[str, Any]:
        """Predicts and scores validation and test split with the trained network."""
        words = f"--model={self.run}", f"--data_dir={self.data}", f"--out={self.place / 'scored'}"
        return {"images": self.records, **self._run(launch("evaluate_auc", *words))}

    def predict(self) -> dict[str, Any]:
        """Predicts files, with all results that the program writes."""
        out = self.place / "predicted"
        shutil.rmtree(out, ignore_errors=True)
        paths = sorted((self.release / "images").iterdir())[: self.records // 30]
        done = self._run(launch("predict", f"--model={self.run}", f"--out={out}", *paths))
        return {"images": len(paths), **done}

    def evaluate_auc(self) -> dict[str, Any]:
        """Scores random probabilities of all radiographs."""
        names = sorted(os.listdir(self.release / "images"))
        values = np.random.default_rng(0).random((len(names), len(FINDINGS)))
        table = pd.DataFrame(values, pd.Index(names, name="Image Index"), FINDINGS)
        return self._score("evaluate_auc", "predictions", table.reset_index())

    def evaluate_boxes(self) -> dict[str, Any]:
        """Scores as many boxes as there are radiographs, beside annotated ones."""
        boxes = pd.read_csv(self.release / "BBox_List_2017.csv", usecols=range(6))
        boxes.columns = ["Image Index", "Finding Label", *"xywh"]
        rng = np.random.default_rng(0)
        boxes = boxes.iloc[np.sort(rng.integers(len(boxes), size=self.records))]
        moved = boxes[["x", "y"]] + 8 * rng.random((self.records, 2))
        table = boxes.assign(x=moved["x"], y=moved["y"], score=rng.random(self.records))
        return self._score("evaluate_boxes", "boxes", table)

    def _score(self, verb: str, kind: str, table: pd.DataFrame) -> dict[str, Any]:
        path = self.place / f"{kind}.csv"
        table.to_csv(path, index=False)
        words = f"--{kind}={path}", f"--release={self.release}", f"--out={self.place / verb}"
        return {"images": len(table), **self._run(launch(verb, *words))}

    @property
    def _data(self) -> tuple[str, str]:
        return f"--data_dir={self.data}", f"--image_size={_IMAGE_SIZE.value}"

    @property
    def _log(self) -> Path:
        return self.place / "log.txt"

    def _run(self, *commands: Sequence[object], xla_flags: str = "") -> dict[str, float]:
        return run(*commands, log=self._log, xla_flags=xla_flags)


PARTS = (
    "prepare",
    "read",
    "train",
    "train_on_8_devices",
    "train_in_2_processes",
    "evaluate_model",
    "predict",
    "evaluate_auc",
    "evaluate_boxes",
)
ONCE = {"train_on_8_devices", "train_in_2_processes"}
"""Parts that are measured with once as many radiographs only."""


def measure(place: Path, parts: Sequence[str], times: Sequence[int]) -> pd.DataFrame:
    """Measures what the table in `place` does not have yet; a row per part and size."""
    path = place / "scale.csv"
    drawing = f"--images={_DRAWN.value}", f"--image_size={_IMAGE_SIZE.value}"
    place.mkdir(parents=True, exist_ok=True)
    run(launch("make_phantom", f"--out={place / 'drawn'}", *drawing), log=place / "log.txt")
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    for n in times:
        study = Study(place, n)
        for part in parts:
            done = any(row["part"] == part and row["times"] == n for row in rows)
            if not done and not (n > 1 and part in ONCE):
                rows.append({"part": part, "times": n, **getattr(study, part)()})
                print(json.dumps(rows[-1]), flush=True)
                pd.DataFrame(rows).to_csv(path, index=False)
    return pd.DataFrame(rows)


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how far time and memory of 4× depart from a line and from a constant.

    Returns:
        Per part `seconds`, those of 4× over what the line through 1× and 2× gives there (1: linear;
        above: worse), and `memory`, the peak of 4× over that of 1× (1: flat).
    """
    wide = table.pivot(index="part", columns="times", values=["processor_seconds", "peak_mib"])
    seconds, memory = wide["processor_seconds"], wide["peak_mib"]
    line = seconds[2] + 2 * (seconds[2] - seconds[1])
    return pd.DataFrame({"seconds": seconds[4] / line, "memory": memory[4] / memory[1]}).dropna()


def plot(table: pd.DataFrame) -> Figure:
    """Draws seconds relative to 1×, and peak memory, of each part against the number of images."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([1, 4], [1, 4], "--", color="gray", label="linear, without start-up")
    table = table.sort_values("times")
    for (part, rows), marker in zip(table.groupby("part"), "osD^v<>", strict=False):
        first = rows["processor_seconds"].iloc[0]
        left.plot(rows["times"], rows["processor_seconds"] / first, marker + "-", ms=4)
        right.plot(rows["times"], rows["peak_mib"], marker + "-", ms=4, label=part)
    left.set_ylabel("Processor time relative to 1×")
    right.set_ylabel("Peak memory (MiB)")
    right.set_ylim(0)
    for panel in (left, right):
        panel.set_xlabel("Times as many radiographs")
        panel.set_xticks([1, 2, 4])
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def main(_: list[str]) -> None:
    """Measures, plots and prints one JSON line."""
    place = Path(_OUT.value)
    times = [int(word) for word in _TIMES.value]
    table = measure(place, _PARTS.value or PARTS, times)
    grown = table.loc[~table["part"].isin([*ONCE])]
    plot(grown).savefig(place / "scale.png", dpi=120)
    result = growth(grown).round(3).to_dict("index") if {1, 2, 4} <= {*times} else {}
    settings = {"records": _RECORDS.value, "image_size": _IMAGE_SIZE.value, "width": _WIDTH.value}
    print(json.dumps({"benchmark": "scale", **settings, "at_4_times": result, **describe()}))


if __name__ == "__main__":
    app.run(main)
