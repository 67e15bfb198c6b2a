"""StableHLO by `jax.export`, for CPUs and NVIDIA GPUs; any XLA runtime compiles its module."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from jax import export

from jaxcxr.export.portable import PortableModel, Run

FILE = "model.stablehlo.bin"


def write(model: PortableModel, folder: Path) -> None:
    """Writes the serialized `jax.export.Exported`, which `jax.export.deserialize` reads."""
    shape = export.symbolic_shape("batch, _, _, _", like=(None, *model.image_shape))
    images = jax.ShapeDtypeStruct(shape, np.uint8)
    exported = export.export(jax.jit(model.__call__), platforms=("cpu", "cuda"))(images)
    (folder / FILE).write_bytes(exported.serialize())


def load(folder: Path) -> tuple[str, Run]:
    """Reads the file again; its function runs on the CPU."""
    exported = export.deserialize(bytearray((folder / FILE).read_bytes()))

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with jax.default_device(jax.devices("cpu")[0]):
            return jax.device_get(exported.call(images))

    return f"jax.export {jax.__version__}", run
