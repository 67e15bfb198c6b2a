"""The devices of a training: their mesh, a batch on them, and a function mapped over them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcxr.errors import UserError
from jaxcxr.models.ops.compilation import compiler_options

DEVICES = "devices"
"""Name of the axis over which a batch is spread."""

EVERYWHERE = PartitionSpec()
"""Every device has the complete array."""

BY_ROWS = PartitionSpec(DEVICES)
"""Each device has its rows of the array."""

Batch = Mapping[str, Any]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def device_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the one-axis mesh over `devices`, or over all devices."""
    return Mesh(np.asarray(devices if devices is not None else jax.devices()), (DEVICES,))


def shard_batch(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's rows of a batch on its devices, rows spread evenly.

    Only what a step reads is transferred: `image`, `labels` and `mask`.

    Raises:
        UserError: The rows do not divide by the number of devices.
    """
    rows = len(batch["image"]) * jax.process_count()
    if rows % mesh.size:
        below = rows // mesh.size * mesh.size
        sizes = [size for size in (below, below + mesh.size) if size]
        raise UserError(
            f"a batch of {rows} images does not divide over {mesh.size} devices; "
            f"use a batch size of {' or '.join(map(str, sizes))}",
            argument="batch_size",
        )
    sharding = NamedSharding(mesh, BY_ROWS)
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(batch[name]))
        for name in ("image", "labels", "mask")
    }


def map_over_devices(
    function: Callable[..., Any],
    mesh: Mesh,
    in_specs: tuple[PartitionSpec, ...],
    out_specs: PartitionSpec = EVERYWHERE,
    donate: int = -1,
) -> Callable[..., Any]:
    """Returns a jitted function that every device runs on its part of the arguments.

    `jax.shard_map` under `jax.jit` is the form in which JAX offers `pmap`'s model today. Within
    `function` the axis is named `DEVICES`.

    Args:
        function: Code for one device.
        mesh: See `device_mesh`.
        in_specs: For each argument `EVERYWHERE`, `BY_ROWS` or another partition.
        out_specs: That of all that `function` returns: with `EVERYWHERE` it must be the same on
            every device.
        donate: Number of the argument whose memory is reused; none by default.
    """
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
    donated = () if donate < 0 else (donate,)
    return jax.jit(mapped, donate_argnums=donated, compiler_options=compiler_options(mesh))


def made_once(make: _Function) -> _Function:
    """Makes a maker of jitted functions return the same one for equal arguments.

    A jitted function keeps its compiled code, so a second training of the same kind compiles
    nothing. Arguments that cannot be hashed get a new function each time.
    """
    cached = functools.lru_cache(maxsize=16)(make)

    @functools.wraps(make)
    def maker(*args: Any, **settings: Any) -> Any:
        try:
            hash((args, tuple(settings.items())))
        except TypeError:
            return make(*args, **settings)
        return cached(*args, **settings)

    return maker  # pyright: ignore[reportReturnType]
