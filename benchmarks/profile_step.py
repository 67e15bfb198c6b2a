"""Where the time of one training step on a CPU goes, against the arithmetic limit of the machine.

python -m benchmarks.profile_step --image_size 256 --batch_size 16 [--plain]

Sums XLA's own record of each operation over the threads, so that the milliseconds can exceed the
step's. Products of matrices that end in the background count under `elsewhere`.
"""

import collections
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import networks
from benchmarks.machine import describe

_NETWORK = flags.DEFINE_enum("network", "baseline", list(networks.NETWORKS), "Network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images per step.")
_PLAIN = flags.DEFINE_bool("plain", False, "With XLA's convolutions, as on other devices.")
_KINDS = flags.DEFINE_integer("kinds", 10, "How many kinds of operations are listed.")


def operations(folder: Path) -> dict[str, float]:
    """Returns milliseconds by kind of operation, from a trace."""
    from jax.profiler import ProfileData

    (trace,) = folder.rglob("*.xplane.pb")
    times: collections.Counter[str] = collections.Counter()
    for plane in ProfileData.from_file(str(trace)).planes:
        for line in plane.lines:
            if "XLA" not in (line.name or ""):
                continue
            for event in line.events:
                if "::" not in event.name and not event.name.startswith("end: "):
                    times[re.sub(r"[.\d]+$", "", event.name)] += event.duration_ns / 1e6
    return dict(times.most_common())


def arithmetic_limit() -> float:
    """Returns the GFLOP/s of the fastest of ten large products of matrices."""
    import jax
    import jax.numpy as jnp

    matrix, seconds = jnp.ones((3072, 3072), jnp.float32), []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(matrix @ matrix)
        seconds.append(time.perf_counter() - start)
    return 2 * len(matrix) ** 3 / min(seconds) / 1e9


def main(_: list[str]) -> None:
    """Profiles and prints one JSON line."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_enable_xprof_traceme"
    import jax

    from jaxcxr.models.ops import convolution

    if _PLAIN.value:

        def plain(stride: int, pad: int, x: jax.Array, kernel: jax.Array) -> Any:
            return convolution._plain(x, kernel, stride, pad)

        convolution._on_cpu = plain
    work = networks.train_here(_NETWORK.value, _IMAGE_SIZE.value, _BATCH_SIZE.value, 1, devices=1)
    for _ in range(3):
        work()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            start = time.perf_counter()
            work()
            step = 1e3 * (time.perf_counter() - start)
        times = operations(Path(folder))
    listed = dict(list(times.items())[: _KINDS.value])
    limit = arithmetic_limit()
    # 4.79 thousand million multiplications and additions an image forward, twice that backward.
    work_done = 3 * 2 * 4.79 * _BATCH_SIZE.value * (_IMAGE_SIZE.value / 256) ** 2
    result = {
        "benchmark": "profile_step",
        "image_size": _IMAGE_SIZE.value,
        "batch_size": _BATCH_SIZE.value,
        "plain": _PLAIN.value,
        "step_ms": round(step),
        "kinds_ms": {name: round(value) for name, value in listed.items()},
        "other_kinds_ms": round(sum(times.values()) - sum(listed.values())),
        "elsewhere_ms": round(max(step - sum(times.values()), 0)),
        "arithmetic_limit_gflops": round(limit),
        "share_of_limit": round(work_done / step * 1e3 / limit, 2),
    }
    print(json.dumps({**result, **describe()}))


if __name__ == "__main__":
    app.run(main)
