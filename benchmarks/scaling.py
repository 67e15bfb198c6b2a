"""Training images/s on several devices against one, with the same batch per device.

python -m benchmarks.scaling --devices 8 --image_size 256 --batch_size 128

The ratio is the speed-up; divided by the number of devices it is the efficiency. Without GPUs,
XLA_FLAGS=--xla_force_host_platform_device_count=8 simulates devices, which share the cores of one
machine: it shows that the program runs, not how it scales.
"""

import json

from absl import app, flags

from benchmarks import networks
from benchmarks.machine import describe
from benchmarks.paired import Work, measure

_NETWORK = flags.DEFINE_enum("network", "baseline", list(networks.NETWORKS), "Network.")
_DEVICES = flags.DEFINE_integer("devices", 2, "How many.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images per step and device.")
_STEPS = flags.DEFINE_integer("steps", 1, "Steps between two looks at the clock.")
_COMPUTE_DTYPE = flags.DEFINE_enum("compute_dtype", "float32", ["float32", "bfloat16"], "Layers'.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often each is measured.")


def train_on_all(batch_size: int, devices: int, **arguments: object) -> Work:
    """Returns the training on all devices, whose batch is as many times as large."""
    return networks.train_here(batch_size=batch_size * devices, devices=devices, **arguments)


def train_on_one(batch_size: int, devices: int, **arguments: object) -> Work:
    """Returns the training on the first device."""
    return networks.train_here(batch_size=batch_size, devices=1, **arguments)


def main(_: list[str]) -> None:
    """Measures and prints one JSON line."""
    arguments = {
        "name": _NETWORK.value,
        "image_size": _IMAGE_SIZE.value,
        "batch_size": _BATCH_SIZE.value,
        "steps": _STEPS.value,
        "devices": _DEVICES.value,
        "compute_dtype": _COMPUTE_DTYPE.value,
    }
    alone = _BATCH_SIZE.value * _STEPS.value
    result = measure(
        train_on_all,
        train_on_one,
        arguments,
        units=alone * _DEVICES.value,
        peer_units=alone,
        rounds=_ROUNDS.value,
    )
    efficiency = round(result["ratio"] / _DEVICES.value, 3)
    print(
        json.dumps(
            {"benchmark": "scaling", **arguments, **result, "efficiency": efficiency, **describe()}
        )
    )


if __name__ == "__main__":
    app.run(main)
