"""Training images/s here and in PyTorch: weighted cross-entropy, Adam.

python -m benchmarks.train_step --image_size 64 --batch_size 32
"""

import json

from absl import app, flags

from benchmarks import networks
from benchmarks.machine import describe
from benchmarks.paired import measure

_NETWORK = flags.DEFINE_enum("network", "baseline", list(networks.NETWORKS), "Network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images per step.")
_STEPS = flags.DEFINE_integer("steps", 1, "Steps between two looks at the clock.")
_COMPUTE_DTYPE = flags.DEFINE_enum("compute_dtype", "float32", ["float32", "bfloat16"], "Layers'.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often each is measured.")


def main(_: list[str]) -> None:
    """Measures and prints one JSON line."""
    networks.require_torch()
    arguments = {
        "name": _NETWORK.value,
        "image_size": _IMAGE_SIZE.value,
        "batch_size": _BATCH_SIZE.value,
        "steps": _STEPS.value,
        "compute_dtype": _COMPUTE_DTYPE.value,
    }
    images = _BATCH_SIZE.value * _STEPS.value
    result = measure(
        networks.train_here,
        networks.train_in_torch,
        arguments,
        units=images,
        rounds=_ROUNDS.value,
    )
    print(json.dumps({"benchmark": "train_step", **arguments, **result, **describe()}))


if __name__ == "__main__":
    app.run(main)
