"""Reading images/s: a prepared dataset here, and the PNG files as the authors' loader reads them.

python -m benchmarks.input_pipeline --release DIR --data_dir DIR --image_size 256

The authors' way, on one core: Pillow decodes a PNG, resizes it as torchvision does (bilinear), and
NumPy normalizes it. Measured as well: rate from host memory (`Split.in_memory`). `benchmarks.scale`
prepares a dataset of any length from few files.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks.machine import describe
from benchmarks.paired import Work, measure
from jaxcxr import data

_RELEASE = flags.DEFINE_string("release", None, "Folder of the release.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where it was prepared.", required=True)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per batch.")
_IMAGES = flags.DEFINE_integer("images", 2560, "Images read here between two looks at the clock.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often each is measured.")

_PEER_IMAGES = 50
"""Images that the authors' way, much slower, reads between two looks at the clock."""


def read_here(data_dir: str, image_size: int, batch_size: int, images: int, **_: str) -> Work:
    """Returns the reading of `images` shuffled images."""
    split = data.load(data_dir, image_size).train
    epochs = _endless(lambda epoch: split.batches(batch_size, seed=0, epoch=epoch))

    def work() -> None:
        for _ in range(images // batch_size):
            next(epochs)

    return work


def _endless(
    epoch_of: Callable[[int], Iterator[Mapping[str, np.ndarray]]],
) -> Iterator[Mapping[str, np.ndarray]]:
    epoch = 0
    while True:
        yield from epoch_of(epoch)
        epoch += 1


def read_as_the_authors(release: str, image_size: int, **_: object) -> Work:
    """Returns the reading of `_PEER_IMAGES` PNG files, one after the other."""
    paths = list(data.read_release(release).image_paths.values())[:_PEER_IMAGES]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def work() -> None:
        for path in paths:
            with Image.open(path) as image:
                pixels = image.convert("RGB").resize(
                    (image_size, image_size), Image.Resampling.BILINEAR
                )
                (np.asarray(pixels, np.float32) / 255 - mean) / std

    return work


def rate_from_memory(data_dir: str, image_size: int, batch_size: int) -> float:
    """Returns images/s of an epoch that is read from host memory."""
    held = data.load(data_dir, image_size).train.in_memory()
    start = time.perf_counter()
    count = sum(len(batch["image"]) for batch in held.batches(batch_size, seed=0))
    return count / (time.perf_counter() - start)


def main(_: list[str]) -> None:
    """Measures and prints one JSON line."""
    place = {
        "data_dir": _DATA_DIR.value,
        "image_size": _IMAGE_SIZE.value,
        "batch_size": _BATCH_SIZE.value,
    }
    arguments = {"release": _RELEASE.value, "images": _IMAGES.value, **place}
    result = measure(
        read_here,
        read_as_the_authors,
        arguments,
        units=_IMAGES.value,
        peer_units=_PEER_IMAGES,
        rounds=_ROUNDS.value,
    )
    result["from_memory_images_per_second"] = round(rate_from_memory(**place))
    print(json.dumps({"benchmark": "input_pipeline", **arguments, **result, **describe()}))


if __name__ == "__main__":
    app.run(main)
