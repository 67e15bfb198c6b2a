"""Trains for long and checks that memory, file handles, threads and speed stay as they are.

    python tests/torture/long_run.py --steps 2000

A tiny network is trained on a phantom, once from prepared record files (tf.data) and once from
memory, with checkpoints at the end of each epoch and within it, TensorBoard, history.csv and the
validation of each epoch. Resident memory, open files and threads are read after each epoch. The
first quarter of the epochs is warm-up: compilers and allocators take what they keep.

Prints one line of JSON; ends with status 1 where something grew: resident memory by more than 5 %
from the end of the warm-up to the end, files or threads by half as many as one lost in each epoch
would be, or the least processor time of an epoch of the last quarter beyond 1.25 times that of the
second quarter.
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
from statistics import median

import jaxcxr as cxr
from jaxcxr.data.phantom import write_release
from jaxcxr.data.preparation import prepare
from jaxcxr.data.releases.nih import read_release
from jaxcxr.training.feeding import DATA_PLACEMENTS

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

    def on_epoch_end(self, epoch, logs) -> None:
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
        data_placement=placement,
        verbose=False,
        callbacks=[
            cxr.BackupAndRestore(workdir, every=per_epoch // 2),
            cxr.CSVLogger(workdir / "history.csv"),
            cxr.TensorBoard(workdir / "tensorboard"),
            watch,
        ],
    )
    return watch.samples


def growth(samples: list[Sample]) -> dict[str, float]:
    """Returns what grew from the second quarter to the last; the first one is the warm-up.

    Of files and threads the fewest count: an epoch may be looked at before its readers have ended.
    """
    quarter = len(samples) // 4
    parts = samples[quarter : 2 * quarter], samples[-quarter:]
    early, late = (min(sample.seconds for sample in part) for part in parts)
    before, after = (
        {
            "megabytes": median(sample.megabytes for sample in part),
            "files": min(sample.files for sample in part),
            "threads": min(sample.threads for sample in part),
        }
        for part in parts
    )
    return {
        "epochs": len(samples),
        "megabytes": round(after["megabytes"]),
        "memory_percent": round(100 * (after["megabytes"] / before["megabytes"] - 1), 2),
        "files": after["files"] - before["files"],
        "threads": after["threads"] - before["threads"],
        "slower": round(late / early, 3),
    }


def grew(result: dict[str, float]) -> bool:
    """Tells whether a training would not go on like that for ever.

    One file or thread lost in every epoch would be as many as half of the epochs; a busy machine
    makes pools of threads grow after the warm-up, by a few.
    """
    flat = max(result["files"], result["threads"]) < result["epochs"] / 4
    return not flat or result["memory_percent"] > 5 or result["slower"] > 1.25


def main() -> int:
    """Trains with each kind of input."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--placements", nargs="+", default=["streamed", "host"], choices=DATA_PLACEMENTS
    )
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
