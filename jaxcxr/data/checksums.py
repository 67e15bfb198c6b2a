"""Checksums of the small files beside a dataset's records, in the form that sha256sum reads.

The record files need none: TFRecord keeps a checksum with each record.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

NAME = "SHA256SUMS"

_DESCRIBING = (".json", ".txt")


def write_checksums(folder: Path) -> None:
    """Writes the checksums of the files that describe the dataset in a folder."""
    lines = [f"{checksum}  {name}\n" for name, checksum in _checksums(folder).items()]
    (folder / NAME).write_text("".join(lines), encoding="utf-8")


def check_checksums(folder: Path) -> None:
    """Compares the files with their checksums; a folder without these passes.

    Raises:
        ValueError: A file is not as it was written.
        OSError: One cannot be read.
    """
    if not (folder / NAME).exists():  # prepared by an early version
        return
    lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    there = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
    here = _checksums(folder)
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise ValueError(f"{name} does not have its checksum in {NAME}")


def _checksums(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in _DESCRIBING)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
