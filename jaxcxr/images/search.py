"""Finding the files of radiographs that arguments name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxcxr.errors import UserError
from jaxcxr.images.dicom import HEAD, begins_as_dicom
from jaxcxr.images.radiograph import FORMATS

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")


def find_radiographs(
    arguments: Sequence[str | Path], *, but_not_in: str | Path | None = None
) -> list[Path]:
    """Finds the files that are named or lie in folders, sorted and each once.

    Folders are searched recursively for names that end as those of PNG, JPEG, TIFF, BMP and DICOM
    files do, also with .gz behind, and for DICOM files of any name; names that begin with a dot are
    left out. A file that is named itself is always taken; reading it reports what is wrong with it.

    Args:
        arguments: Paths of files and folders.
        but_not_in: A folder whose files are left out, for example that of the results.

    Raises:
        UserError: No argument is given, or one names a folder without radiographs.
    """
    if not arguments:
        raise UserError(f"no radiographs are named; name {FORMATS} files, or folders")
    found: dict[str, Path] = {}
    for argument in arguments:
        place = Path(argument).expanduser()
        paths = [
            path
            for path in (_search(place) if os.path.isdir(place) else [place])
            if but_not_in is None or not lies_in(path, but_not_in)
        ]
        if not paths:
            raise UserError(f"{argument}: no {FORMATS} file there; name another place")
        for path in paths:
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def lies_in(path: Path, folder: str | Path) -> bool:
    """Returns whether a path leads into a folder, with links and dots resolved."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _search(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and _is_promising(path):
            yield path


def _is_promising(path: Path) -> bool:
    if path.name.lower().removesuffix(".gz").endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return begins_as_dicom(file.read(HEAD))
    except OSError:
        return False
