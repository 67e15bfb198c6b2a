"""How soon the first shuffled batch comes from a dataset of the full size.

python -m benchmarks.first_batch --data_dir DIR --image_size 256

The dataset is grown to 112,120 radiographs first: every record file of a prepared one is copied as
often as needed, into a temporary folder of 7.4 GB at 256 pixels. Each round is a process of its
own. Cold: the files have been dropped from the page cache; warm: they were read just before.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

from benchmarks.grown import Grown, grow
from benchmarks.machine import describe
from jaxcxr.data.variant import Variant

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where a release was prepared.", required=True)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels.")
_RECORDS = flags.DEFINE_integer("records", 112_120, "Radiographs to grow to, at least.")
_FOLDER = flags.DEFINE_string("folder", None, "Where the grown dataset lies meanwhile.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per batch.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often each is measured.")

_CHILD = """
import sys, time
start = time.perf_counter()
import jaxcxr.data.quiet_tensorflow
imported = time.perf_counter()
from jaxcxr import data
folder, image_size, batch_size, seed = sys.argv[1], *map(int, sys.argv[2:])
split = data.load(folder, image_size).train
next(split.batches(batch_size, seed=seed))
print(time.perf_counter() - imported, flush=True)
"""


def drop_from_cache(paths: tuple[Path, ...]) -> None:
    """Lets the operating system forget the contents of files."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def first_batch(grown: Grown, image_size: int, batch_size: int, seed: int) -> tuple[float, float]:
    """Returns seconds from opening the dataset to its first batch, in a process of its own.

    Returns:
        With TensorFlow imported already; and all of it, the start of Python included.
    """
    arguments = (os.fspath(grown.data_dir), str(image_size), str(batch_size), str(seed))
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        opened = float(child.stdout.readline())
        return opened, time.perf_counter() - start


def measure(grown: Grown, image_size: int, batch_size: int, rounds: int) -> dict[str, object]:
    """Returns medians of the seconds, cold and warm, with and without the import."""
    seconds = {"cold": [], "warm": []}
    for seed in range(rounds):  # another seed begins with other files
        drop_from_cache(grown.paths)
        for state in seconds:
            seconds[state].append(first_batch(grown, image_size, batch_size, seed))
    return {
        state: {
            "opened_to_batch_seconds": round(statistics.median(first for first, _ in pairs), 2),
            "with_import_seconds": round(statistics.median(whole for _, whole in pairs), 2),
            "slowest_opened_to_batch": round(max(first for first, _ in pairs), 2),
        }
        for state, pairs in seconds.items()
    }


def main(_: list[str]) -> None:
    """Measures and prints one JSON line."""
    variant = Variant(_IMAGE_SIZE.value)
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        grown = grow(variant.folder(_DATA_DIR.value), variant.folder(folder), _RECORDS.value)
        result = measure(grown, _IMAGE_SIZE.value, _BATCH_SIZE.value, _ROUNDS.value)
    line = {
        "benchmark": "first_batch",
        "records": grown.records,
        "record_files": len(grown.paths),
        "image_size": _IMAGE_SIZE.value,
        **result,
        **describe(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    app.run(main)
