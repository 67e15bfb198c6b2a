"""Names of functions and their settings, by which a resumed training recognizes them."""

from __future__ import annotations

import functools
import inspect
import types
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

_LIBRARIES = ("jax", "optax")
"""Their code may change from version to version; what it is given may not."""


def identity(function: Callable[..., Any]) -> str:
    """Returns the name of a function with its settings.

    Functions of `jaxcxr.training.losses` go by their name, others by module and qualified name;
    ``focal_loss(gamma=3.0)`` stands for a `functools.partial`. The names of lambdas and of
    functions made in functions are not unique: a checksum of their code, defaults and closure is
    added.
    """
    settings: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        settings = {**function.keywords, **settings}
        settings |= {f"argument {place}": value for place, value in enumerate(function.args)}
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    name = f"{named.__module__}.{named.__qualname__}".removeprefix("jaxcxr.training.losses.")
    if "<" in name and inspect.isfunction(inspect.unwrap(function)):
        name += f"#{checksum(function)}"
    if "." not in name:
        defaults = inspect.signature(function).parameters
        settings = {key: v for key, v in settings.items() if defaults[key].default != v}
    words = ", ".join(f"{key}={value!r}" for key, value in sorted(settings.items()))
    return f"{name}({words})" if words else name


def checksum(value: Any) -> str:
    """Returns a checksum of what a function or a plain value is made of, the same in every process.

    Args:
        value: Functions (code, defaults and closure), numbers, text, arrays, and lists, tuples,
            mappings and instances of these; anything else goes by its type.
    """
    return f"{zlib.crc32(_content(value, 10).encode()):08x}"


def _content(value: Any, depth: int) -> str:
    if isinstance(value, bool | int | float | complex | str | bytes | types.NoneType):
        return repr(value)
    if isinstance(value, np.ndarray | jax.Array):
        return f"{value.dtype}{value.shape}{zlib.crc32(np.asarray(value).tobytes())}"
    parts: Sequence[Any] = ()
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, types.CodeType):
        parts = (value.co_code, value.co_names, value.co_consts)
    elif inspect.isfunction(value):
        code = value.__module__.partition(".")[0] not in _LIBRARIES and value.__code__
        enclosed = inspect.getclosurevars(value).nonlocals.values()
        parts = (code, value.__qualname__, *enclosed, value.__defaults__, value.__kwdefaults__)
    elif isinstance(value, list | tuple):
        parts = value
    elif isinstance(value, dict):
        parts = (*value.keys(), *value.values())
    elif not isinstance(value, type | types.ModuleType) and hasattr(value, "__dict__"):
        parts = (*vars(value).keys(), *vars(value).values())
    inner = [_content(part, depth - 1) for part in parts] if depth else []
    return f"{type(value).__qualname__}{inner}"
