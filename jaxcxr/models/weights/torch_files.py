"""PyTorch's files of parameters as NumPy arrays. Only `.pth`, `.pt` and `.bin` need PyTorch."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import safetensors.numpy

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write

_PICKLED = (".pth", ".pt", ".bin")
SUFFIXES = (".safetensors", *_PICKLED)


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict; pickles are opened as data only, so that code in them never runs.

    Raises:
        UserError: The file is missing, damaged, of another format, or holds other things than
            tensors; or it is a pickle and PyTorch is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a file of weights ({', '.join(SUFFIXES)})")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _PICKLED:
        return _read_pickled(path)
    raise UserError(f"{path} is no file of weights: use one that ends in {', '.join(SUFFIXES)}")


def write_torch_file(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict in the format that the path's suffix names.

    Raises:
        UserError: The suffix is unknown, the place cannot be written to, or PyTorch is needed and
            not installed.
    """
    path = Path(path)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    if path.suffix == ".safetensors":
        with atomic_write(path) as aside:
            aside.write_bytes(safetensors.numpy.save(contiguous, metadata={"format": "pt"}))
    elif path.suffix in _PICKLED:
        torch = _torch(path)
        tensors = {name: torch.from_numpy(array.copy()) for name, array in contiguous.items()}
        content = io.BytesIO()  # PyTorch meets a disk that is full with any error there is
        torch.save(tensors, content)
        with atomic_write(path) as aside:
            aside.write_bytes(content.getbuffer())
    else:
        raise UserError(f"{path} cannot be written: end its name in {', '.join(SUFFIXES)}")


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except Exception as error:  # kinds of numbers that NumPy lacks end in an AttributeError
        raise UserError(f"{path} is no whole safetensors file ({error}); fetch it again") from error


def _read_pickled(path: Path) -> dict[str, np.ndarray]:
    torch = _torch(path)
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it holds more than tensors (perhaps code, which is never run); "
            "save the network's state_dict() and use that file"
        ) from error
    except Exception as error:  # the unpickler meets damaged bytes with any exception there is
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is no whole PyTorch file ({reason}); fetch it again") from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise UserError(f"{path} is no state dict: expected a table from names to tensors")
    return {str(name): tensor.float().numpy() for name, tensor in tensors.items()}


def _torch(path: Path) -> ModuleType:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"{path} needs PyTorch, which is not installed: pip install 'jaxcxr[torch]', "
            "or use a .safetensors file"
        ) from error
    return torch
