"""The sources of releases by name."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from jaxcxr.data.releases import chexpert, nih, rsna, vindr
from jaxcxr.data.releases.release import Reader, Release
from jaxcxr.errors import UserError

AUTO = "auto"

READERS: dict[str, Reader] = {"chexpert": chexpert, "vindr": vindr, "rsna": rsna, "nih": nih}
"""The readers in the order in which they are tried; NIH's reads what nobody recognizes."""


def register_reader(name: str, reader: Reader) -> None:
    """Makes a reader of one's own known to `read_release`.

    Args:
        name: The source's name.
        reader: The two functions of `Reader`.

    Raises:
        UserError: Another reader has this name.
    """
    if READERS.setdefault(name, reader) is not reader:
        raise UserError(f"a reader of the source {name!r} exists; choose another name")


def read_release(
    root: str | os.PathLike[str],
    *,
    source: str = AUTO,
    require_images: bool = True,
    allow_missing: bool = False,
    **settings: Any,
) -> Release:
    """Reads and validates a release.

    Args:
        root: The release's folder.
        source: Name of its reader; "auto" recognizes it by its files.
        require_images: Whether the radiographs are needed; without them only the lists are read.
        allow_missing: Whether radiographs of the lists may be without a file.
        **settings: Settings of the source's reader, for NIH those of `jaxcxr.data.releases.nih`.

    Raises:
        UserError: The folder is missing, or a list is missing or wrong, or a radiograph is missing;
            nobody knows the source, or its reader has no such setting.
    """
    root = Path(root).expanduser()
    if source != AUTO and source not in READERS:
        raise UserError(
            f"source is {source!r}; expected {AUTO} or one of {', '.join(READERS)}",
            argument="source",
        )
    if source == AUTO:
        source = next((name for name, reader in READERS.items() if reader.recognizes(root)), "nih")
    reader = READERS[source]
    accepted = inspect.signature(reader.read).parameters
    if foreign := [name for name in settings if name not in accepted]:
        raise UserError(
            f"{root}: {source} releases have no {foreign[0]}; leave it out", argument=foreign[0]
        )
    return reader.read(root, require_images=require_images, allow_missing=allow_missing, **settings)
