"""What every reader of releases returns, and what it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

if TYPE_CHECKING:
    from jaxcxr.data.releases.archives import ArchivedImage

UNKNOWN = "unknown"
"""The sex or view of a radiograph of which the release has none."""

SEXES = ("F", "M", "other", UNKNOWN)
VIEWS = ("PA", "AP", "lateral", "other", UNKNOWN)

UNKNOWN_AGE = -1
"""The age of a patient of whom the release has none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Release:
    """A release whose lists agree with each other.

    Attributes:
        root: Its folder.
        images: One row per radiograph in the metadata's order: image_name (unique), patient (int64,
            or text), age (years, int64, -1 where it is unknown), sex (one of `SEXES`), view (one of
            `VIEWS`), follow_up (int64), a column per name in `FINDINGS` (uint8; or float32, where
            NaN is an unknown label), official_split ("train_val", "test", "validation" where the
            release has one of its own, "unlisted" in all rows of a release without lists) and
            list_position, the row's place in that list.
        boxes: One row per annotated box in file order: image_name, finding, x, y, w, h (float,
            origin top left), in pixels of the radiograph's file; without a file, in those of the
            list.
        image_paths: File of each radiograph by name; empty where images were not asked for.
        missing: Radiographs that are left out, each with the reason: rows of `images` without a
            file (a partial download), and names in lists without a row. Empty where images were
            not asked for.
        archived: Radiographs of which an archive has the file and no folder does, by name.
        notes: What was decided on the way that may surprise, one line each.
        source: Name of the reader.
    """

    root: Path
    images: pd.DataFrame
    boxes: pd.DataFrame
    image_paths: Mapping[str, Path]
    missing: Mapping[str, str] = dataclasses.field(default_factory=dict)
    archived: Mapping[str, ArchivedImage] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: str = "nih"


class Reader(Protocol):
    """Reads the releases of one source; a module with these two functions is one."""

    def recognizes(self, root: Path) -> bool:
        """Returns whether a folder is a release of this source, by the names of its files."""
        ...

    def read(self, root: Path, *, require_images: bool, allow_missing: bool) -> Release:
        """Reads and validates a release; further arguments with defaults are settings of its own.

        Args:
            root: The release's folder.
            require_images: Whether the radiographs are needed; without them only the lists are
                read.
            allow_missing: Whether radiographs of the lists may be without a file.

        Raises:
            UserError: A list is missing or wrong, or a radiograph is missing.
        """
        ...
