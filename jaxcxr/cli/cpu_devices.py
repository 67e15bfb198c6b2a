"""How the programs divide a processor without a GPU."""

from __future__ import annotations

import contextlib
import os

_CORES = 2
"""Number of cores at which a device for each was measured (benchmarks/README.md)."""


def use_device_per_core(batch_size: int = _CORES) -> None:
    """Makes each of two cores a device of JAX, which has its share of every batch.

    JAX would make one device of them, which hands nearly all data from core to core: where the
    cores share no cache, it trains up to 1.4 times as long. With more cores, or with batches of odd
    sizes, JAX's choice is kept, and so is the user's (JAX_NUM_CPU_DEVICES). GPUs are used as
    without it. To be called before JAX computes anything.

    Args:
        batch_size: Radiographs per step, where they must divide over the devices.
    """
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = jax.config.jax_num_cpu_devices  # pyright: ignore[reportAttributeAccessIssue]
    flags = os.environ.get("XLA_FLAGS", "")
    is_chosen = asked > 0 or "xla_force_host_platform_device_count" in flags
    if cores != _CORES or batch_size % cores or is_chosen or jax.distributed.is_initialized():
        return
    with contextlib.suppress(RuntimeError):  # a config's module had JAX compute something
        jax.config.update("jax_num_cpu_devices", cores)
