"""A batch of radiographs spread over the devices of a process."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import NamedSharding

from jaxcxr.training.devices import BY_ROWS, EVERYWHERE, device_mesh, map_over_devices
from jaxcxr.training.state import Variables


def spread_over_devices(
    function: Callable[[Variables, jax.Array], tuple[jax.Array, ...]],
) -> Callable[[Variables, np.ndarray], tuple[np.ndarray, ...]]:
    """Returns `function`, compiled, with the radiographs of a batch spread over all local devices.

    Args:
        function: (variables, images (B, …)) → arrays (B, …), each row of them from one image. It
            is compiled for every new B.

    Returns:
        The same, with NumPy arrays (B, …). Where B does not divide by the number of devices, the
        last image is computed several times.
    """
    mesh = device_mesh(jax.local_devices())
    compiled = map_over_devices(function, mesh, (EVERYWHERE, BY_ROWS), BY_ROWS)

    def spread(variables: Variables, images: np.ndarray) -> tuple[np.ndarray, ...]:
        more = np.repeat(images[-1:], -len(images) % mesh.size, axis=0)
        filled = np.concatenate([images, more]) if len(more) else images
        placed = jax.device_put(filled, NamedSharding(mesh, BY_ROWS))
        return tuple(np.asarray(rows)[: len(images)] for rows in compiled(variables, placed))

    return spread
