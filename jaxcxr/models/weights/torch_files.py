"""PyTorch files of parameters as NumPy arrays; PyTorch is needed for files before its 1.6."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write
from jaxcxr.models.weights.torch_pickle import read_zip

_PICKLED = (".pth", ".pt", ".bin", ".tar", ".ckpt")
_NESTED = (
    *("state_dict", "model_state_dict", "model_state", "model", "net"),
    *("network", "params", "weights"),
)
"""Where checkpoints that hold more than parameters keep them."""

_MORE_THAN_TENSORS = """{0} is refused: it holds more than tensors (perhaps code, which is never \
run). If you trust it, make a state dict where its network's code is installed, and use that:
  checkpoint = torch.load("{0}", weights_only=False)
  torch.save(checkpoint.state_dict(), "weights.pth")  # or checkpoint["model"].state_dict(), \
checkpoint["state_dict"]"""

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""Types of numbers in safetensors files."""

SUFFIXES = (".safetensors", *_PICKLED)


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict; pickles are opened as data only, so that code in them never runs.

    Args:
        path: A state dict, or a checkpoint that holds one beside the state of its training.

    Returns:
        The arrays by name; those of a pickle are float32.

    Raises:
        UserError: The file is missing, damaged, of another format, or holds other things than
            tensors; or it is older than PyTorch 1.6 and PyTorch is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not a file; name a file of weights ({', '.join(SUFFIXES)})")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _PICKLED:
        return _read_pickled(path)
    raise UserError(f"{path} is not a file of weights: use one that ends in {', '.join(SUFFIXES)}")


def write_torch_file(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict in the format that the path's suffix names.

    Raises:
        UserError: The suffix is unknown, the place cannot be written to, or PyTorch is needed and
            not installed.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        with atomic_write(path) as partial:
            partial.write_bytes(safetensors_bytes(arrays))
    elif path.suffix in _PICKLED:
        torch = _torch(path)
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        content = io.BytesIO()  # PyTorch raises errors of any kind on a full disk
        torch.save(tensors, content)
        with atomic_write(path) as partial:
            partial.write_bytes(content.getbuffer())
    else:
        raise UserError(f"{path} cannot be written: end its name in {', '.join(SUFFIXES)}")


def safetensors_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the content of a safetensors file that PyTorch reads."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata={"format": "pt"})


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        views = dict(safetensors.deserialize(path.read_bytes()))
    except Exception as error:
        raise UserError(
            f"{path} is not a complete safetensors file ({error}); download it again"
        ) from error
    if unread := {view["dtype"] for view in views.values()} - _DTYPES.keys():
        raise UserError(
            f"{path} holds numbers of the type {', '.join(sorted(unread))}; save them as float32"
        )
    return {
        name: np.frombuffer(view["data"], _DTYPES[view["dtype"]]).reshape(view["shape"])
        for name, view in views.items()
    }


def _read_pickled(path: Path) -> dict[str, np.ndarray]:
    try:
        content = read_zip(path) if zipfile.is_zipfile(path) else _read_old(path)
    except pickle.UnpicklingError as error:
        raise UserError(_MORE_THAN_TENSORS.format(path)) from error
    except UserError:
        raise
    except Exception as error:  # damaged bytes make unpicklers raise exceptions of any kind
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{path} is not a complete PyTorch file ({reason}); download it again"
        ) from error
    if isinstance(content, dict):
        nested = [content[name] for name in _NESTED if isinstance(content.get(name), dict)]
        content = nested[0] if nested else content
    if not isinstance(content, dict) or not all(
        isinstance(array, np.ndarray) for array in content.values()
    ):
        raise UserError(f"{path} is not a state dict: expected a dict from names to tensors")
    return {str(name): array.astype(np.float32) for name, array in content.items()}


def _read_old(path: Path) -> Any:
    """Reads a file of PyTorch before 1.6, which only PyTorch itself reads."""
    torch = _torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        if "legacy .tar" in str(error):  # before 0.1.11, always unpickled with code
            raise pickle.UnpicklingError from error
        raise

    def as_arrays(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: as_arrays(inner) for name, inner in value.items()}
        return value.detach().float().numpy() if torch.is_tensor(value) else value

    return as_arrays(content)


def _torch(path: Path) -> ModuleType:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"{path} needs PyTorch, which is not installed: pip install 'jaxcxr[torch]', "
            "or use a .safetensors file"
        ) from error
    return torch
