"""From a release to batches of radiographs.

The names are imported when they are first used: reading a release needs no TensorFlow, preparing
and loading a dataset do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcxr.data.arrays import ArraySplit
    from jaxcxr.data.pipeline import Data, Split, load
    from jaxcxr.data.preparation import Preparation, prepare
    from jaxcxr.data.releases.building import build_release
    from jaxcxr.data.releases.release import Release
    from jaxcxr.data.releases.sources import read_release, register_reader
    from jaxcxr.data.splits import authors_split, split_by_patient

_NAMES = {
    "arrays": ("ArraySplit",),
    "pipeline": ("Data", "Split", "load"),
    "preparation": ("Preparation", "prepare"),
    "releases.building": ("build_release",),
    "releases.release": ("Release",),
    "releases.sources": ("read_release", "register_reader"),
    "splits": ("authors_split", "split_by_patient"),
}

__all__ = [
    "ArraySplit",
    "Data",
    "Preparation",
    "Release",
    "Split",
    "authors_split",
    "build_release",
    "load",
    "prepare",
    "read_release",
    "register_reader",
    "split_by_patient",
]


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(importlib.import_module(f"jaxcxr.data.{module}"), name)
    raise AttributeError(f"module 'jaxcxr.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
