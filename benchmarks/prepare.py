"""How fast a release is prepared, against Pillow decoding the same files on one core.

python benchmarks/prepare.py --release ../shared/nih_sample

Both read every PNG and resize it to 256×256; preparing also encodes, shuffles and writes the
records. The two take turns. Prints one JSON line with the medians in images/s, the extremes of the
rounds, and the ratio per core.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image
from tqdm import tqdm

from jaxcxr import data
from jaxcxr.data.releases.release import Release

_RELEASE = flags.DEFINE_string("release", None, "Folder of a release.", required=True)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Height and width to resize to.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often each is measured.", lower_bound=1)


def main() -> None:
    """Measures and prints."""
    release = data.read_release(_RELEASE.value)
    size = _IMAGE_SIZE.value
    paths = list(release.image_paths.values())
    ours: list[float] = []
    pillow: list[float] = []
    prepare_once(release, size)  # loads TensorFlow and fills the file cache
    for _ in tqdm(range(_ROUNDS.value), unit="round"):
        pillow.append(len(paths) / duration(lambda: decode_with_pillow(paths, size)))
        ours.append(len(paths) / duration(lambda: prepare_once(release, size)))
    cores = len(os.sched_getaffinity(0))
    per_core = statistics.median(ours) / cores / statistics.median(pillow)
    result = {
        "benchmark": "prepare",
        "images": len(paths),
        "image_size": size,
        "cores": cores,
        "rounds": _ROUNDS.value,
        "ours_images_per_second": round(statistics.median(ours), 1),
        "ours_range": [round(min(ours), 1), round(max(ours), 1)],
        "pillow_one_core_images_per_second": round(statistics.median(pillow), 1),
        "pillow_one_core_range": [round(min(pillow), 1), round(max(pillow), 1)],
        "ratio_per_core": round(per_core, 3),
    }
    print(json.dumps(result))


def decode_with_pillow(paths: list[Path], size: int) -> None:
    """Decodes and resizes one file after the other."""
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR))


def prepare_once(release: Release, size: int) -> None:
    """Prepares the release in a folder that is removed again."""
    with tempfile.TemporaryDirectory() as folder:
        data.prepare(release, folder, image_size=size)


def duration(work: Callable[[], None]) -> float:
    """Returns the seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    app.run(lambda _: main())
