"""PyTorch's zip files of tensors as NumPy arrays, read without PyTorch.

Nothing but the names below is ever looked up, as with PyTorch's ``weights_only=True``: code in a
file never runs.
"""

from __future__ import annotations

import collections
import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


def read_zip(path: Path) -> Any:
    """Returns what `torch.save` wrote, with NumPy arrays for tensors.

    Raises:
        pickle.UnpicklingError: The file holds more than tensors and plain values.
        Exception: Damaged bytes raise exceptions of any kind.
    """
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = name.removesuffix("data.pkl")
        order = folder + "byteorder"
        written = archive.read(order).decode() if order in archive.namelist() else "little"
        if written != sys.byteorder:
            raise ValueError(f"{written}-endian numbers on a {sys.byteorder}-endian machine")
        return _Unpickler(archive, folder).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(folder + "data.pkl")))
        self._archive, self._folder = archive, folder
        self._read: dict[str, np.ndarray] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == "torch" and global_name in _STORAGES:
            return global_name
        known = {
            "collections.OrderedDict": collections.OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": _parameter,
        }
        if (name := f"{module_name}.{global_name}") not in known:
            raise pickle.UnpicklingError(f"{name} is not a tensor")
        return known[name]

    def persistent_load(self, pid: Any, /) -> np.ndarray:
        _, storage, key, *_ = pid
        if key not in self._read:
            content = self._archive.read(f"{self._folder}data/{key}")
            self._read[key] = np.frombuffer(content, _STORAGES[storage])
        return self._read[key]


def _tensor(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if min((offset, *shape, *stride)) < 0 or (0 not in shape and last >= len(storage)):
        raise ValueError("a tensor exceeds its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides).copy()


def _parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data
