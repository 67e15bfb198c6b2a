"""Images/s of whole epochs, wherever the radiographs are, against the training step alone.

python -m benchmarks.epoch --placement device --images 2048 --image_size 256 --batch_size 128

The peer repeats one step with a batch that lies on the device: a ratio of 1 says that reading,
shuffling, gathering and sending cost nothing beside the arithmetic.
"""

import json
import tempfile

import numpy as np
from absl import app, flags

from benchmarks import networks
from benchmarks.machine import describe
from benchmarks.paired import Work, measure

_NETWORK = flags.DEFINE_enum("network", "baseline", list(networks.NETWORKS), "Network.")
_PLACEMENT = flags.DEFINE_enum(
    "placement",
    "device",
    ["streamed", "host", "device"],
    "Of the radiographs; streamed: in a file.",
)
_IMAGES = flags.DEFINE_integer("images", 256, "Radiographs per epoch.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images per step.")
_COMPUTE_DTYPE = flags.DEFINE_enum("compute_dtype", "float32", ["float32", "bfloat16"], "Layers'.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often each is measured.")


def train_epochs(
    name: str,
    image_size: int,
    batch_size: int,
    steps: int,
    placement: str,
    compute_dtype: str,
) -> Work:
    """Returns one epoch of `steps` steps as `fit` runs it, shuffled again each time."""
    import jax

    from jaxcxr.data.arrays import ArraySplit
    from jaxcxr.training.feeding import resident, streamed

    rows = networks.batch(image_size, batch_size * steps)
    images = rows["image"]
    if placement == "streamed":
        with tempfile.TemporaryFile() as file:  # it lasts as long as the map of it
            images = np.memmap(file, np.uint8, "w+", shape=images.shape)
        images[:] = rows["image"]
    split = ArraySplit(images, rows["labels"])
    training = networks.training(name, image_size, batch_size, compute_dtype)
    make_feed = resident if placement == "device" else streamed
    feed = make_feed(training.step(), split, batch_size, 0, training.mesh)
    state, epoch = training.state, 0

    def work() -> None:
        nonlocal state, epoch
        epoch += 1
        losses = []
        for on_devices, _ in feed.batches(epoch, 0):
            state, loss = feed.step(state, on_devices)
            losses.append(loss)
        assert all(np.isfinite(jax.device_get(loss)).all() for loss in losses)

    return work


def train_steps(
    name: str, image_size: int, batch_size: int, steps: int, compute_dtype: str, **_: object
) -> Work:
    """Returns `steps` steps with the same batch."""
    return networks.train_here(name, image_size, batch_size, steps, compute_dtype)


def main(_: list[str]) -> None:
    """Measures and prints one JSON line."""
    arguments = {
        "name": _NETWORK.value,
        "image_size": _IMAGE_SIZE.value,
        "batch_size": _BATCH_SIZE.value,
        "steps": _IMAGES.value // _BATCH_SIZE.value,
        "placement": _PLACEMENT.value,
        "compute_dtype": _COMPUTE_DTYPE.value,
    }
    images = arguments["steps"] * _BATCH_SIZE.value
    result = measure(train_epochs, train_steps, arguments, units=images, rounds=_ROUNDS.value)
    print(json.dumps({"benchmark": "epoch", **arguments, **result, **describe()}))


if __name__ == "__main__":
    app.run(main)
