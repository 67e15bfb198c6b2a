"""Trains for long and checks that memory, file handles, threads and speed stay as they are.

    python tests/torture/long_run.py --steps 2000

A tiny network is trained on a phantom, once from prepared record files (tf.data) and once from
memory, with checkpoints at the end of each epoch and within it, TensorBoard, history.csv and the
validation of each epoch. Resident memory, open files and threads are read after each epoch. The
first quarter of the epochs is warm-up: compilers and allocators take what they keep.

Prints one line of JSON; ends with status 1 where something grew: resident memory by more than 5 %
from the end of the warm-up to the end, files or threads at all, or the least processor time of an
epoch of the last quarter beyond 1.25 times that of the second quarter.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import jaxcxr as cxr
from jaxcxr.data.phantom import write_release
from jaxcxr.data.preparation import prepare
from jaxcxr.data.release import read_release
from jaxcxr.training.feeding import PLACEMENTS

SIZE, BATCH, EPOCHS = 64, 2, 40


@dataclasses.dataclass(frozen=True)
class Sample:
    """What the process holds after an epoch, and the processor time that the epoch took."""

    megabytes: float
    files: int
    threads: int
    seconds: float


class Watch(cxr.Callback):
    """Reads what this process holds after each epoch."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._before = time.process_time()

    def on_epoch_end(self, progress) -> None:
        now = time.process_time()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.samples.append(
            Sample(
                pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
                len(os.listdir("/proc/self/fd")),
                len(os.listdir("/proc/self/task")),
                now - self._before,
            )
        )
        self._before = now


def load(place: Path, images: int) -> cxr.data.Data:
    """Prepares a phantom with about so many radiographs to train on."""
    write_release(place / "release", 2 * images, SIZE, seed=0, jobs=1)
    prepare(read_release(place / "release"), place / "datasets", image_size=SIZE)
    return cxr.data.load(place / "datasets", image_size=SIZE)


def train(data, workdir: Path, placement: str, steps: int) -> list[Sample]:
    """Trains for so many steps; returns a sample per epoch."""
    watch = Watch()
    per_epoch = data.train.num_images // BATCH
    cxr.fit(
        cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline()),
        data.train,
        validation_data=data.validation,
        epochs=steps // per_epoch,
        batch_size=BATCH,
        optimizer=cxr.adam(1e-4),
        ema_decay=0.99,
        placement=placement,
        verbose=False,
        callbacks=[
            cxr.ModelCheckpoint(workdir, every=per_epoch // 2),
            cxr.CSVLogger(workdir / "history.csv"),
            cxr.TensorBoard(workdir / "tensorboard"),
            watch,
        ],
    )
    return watch.samples


def growth(samples: list[Sample]) -> dict[str, float]:
    """Returns what grew from the end of the warm-up, the first quarter, to the end."""
    quarter = len(samples) // 4
    warm, last = samples[quarter], samples[-1]
    early, late = (
        min(sample.seconds for sample in part)
        for part in (samples[quarter : 2 * quarter], samples[-quarter:])
    )
    return {
        "epochs": len(samples),
        "megabytes": round(last.megabytes),
        "memory_percent": round(100 * (last.megabytes / warm.megabytes - 1), 2),
        "files": last.files - warm.files,
        "threads": last.threads - warm.threads,
        "slower": round(late / early, 3),
    }


def grew(result: dict[str, float]) -> bool:
    """Tells whether a training would not go on like that for ever."""
    flat = result["files"] <= 0 and result["threads"] <= 0
    return not flat or result["memory_percent"] > 5 or result["slower"] > 1.25


def main() -> int:
    """Trains with each kind of input."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--placements", nargs="+", default=["streamed", "host"], choices=PLACEMENTS)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = load(place, flags.steps * BATCH // EPOCHS)
        results = {
            placement: growth(train(data, place / placement, placement, flags.steps))
            for placement in flags.placements
        }
    print(json.dumps({"steps": flags.steps, **results}))
    return int(any(map(grew, results.values())))


if __name__ == "__main__":
    sys.exit(main())
