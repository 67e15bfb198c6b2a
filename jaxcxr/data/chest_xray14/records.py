"""One radiograph of a release as a record of the prepared dataset."""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.data.releases.archives import read_images
from jaxcxr.data.releases.nih import Release
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.radiograph import DamagedImageError, read_radiograph
from jaxcxr.images.square import SquareRule, make_square

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """A radiograph's file, and what the release's lists say about it.

    Attributes:
        path: The PNG file, or the path of an archive and the file's name in it.
        metadata: Every field of the record that does not come from the file.
        content: The bytes of a file in an archive; None where `path` is to be read.
    """

    path: Path
    metadata: Record
    content: bytes | None = None

    @property
    def image_name(self) -> str:
        """Name of the radiograph, the key of its record."""
        return self.metadata["image_name"]

    def opened(self) -> Iterator[Source]:
        """Yields the source itself, as an `ArchiveSource` yields those in it."""
        yield self


@dataclasses.dataclass(frozen=True)
class ArchiveSource:
    """An archive, and what the lists say about the radiographs that are wanted of it.

    Attributes:
        path: The archive.
        metadata: `Source.metadata` of each, by the name of the file in the archive.
    """

    path: Path
    metadata: Mapping[str, Record]

    def opened(self) -> Iterator[Source]:
        """Reads the archive and yields the radiographs that are wanted, in its order.

        Raises:
            UserError: It is damaged, or not what it was when the release was read.
        """
        found = 0
        for member, content in read_images(self.path):
            if member in self.metadata:
                found += 1
                yield Source(self.path / member, self.metadata[member], content)
        if found != len(self.metadata):
            raise UserError(f"{self.path} was changed while it was being read; start again")


def sources(images: pd.DataFrame, release: Release) -> Iterator[Source | ArchiveSource]:
    """Yields the sources of rows of `Release.images`: files in their order, then archives."""
    boxes_of = {str(name): rows for name, rows in release.boxes.groupby("image_name", sort=False)}
    labels = images[list(FINDINGS)].to_numpy(np.uint8)
    in_archives: dict[Path, dict[str, Record]] = {}
    for row, vector in zip(images.itertuples(index=False), labels, strict=True):
        name = str(row.image_name)
        metadata = {
            "image_name": row.image_name,
            "labels": vector,
            "patient": row.patient,
            "age": row.age,
            "sex": row.sex,
            "view": row.view,
            "follow_up": row.follow_up,
            "boxes": _box_records(boxes_of.get(name)),
        }
        if name in release.image_paths:
            yield Source(release.image_paths[name], metadata)
        else:
            image = release.archived[name]
            in_archives.setdefault(image.archive, {})[image.member] = metadata
    for path, wanted in sorted(in_archives.items()):
        yield ArchiveSource(path, wanted)


def read_record(source: Source, image_size: int, square: SquareRule = "squash") -> Record:
    """Decodes one radiograph and returns its record.

    Args:
        source: The radiograph.
        image_size: Height and width to store, in pixels.
        square: How it becomes square.

    Raises:
        DamagedImageError: The file is damaged (see `jaxcxr.images.radiograph.read_radiograph`), or
            its EXIF orientation turns it: boxes are in pixels as they are stored.
    """
    radiograph = read_radiograph(source.path, source.content)
    if radiograph.orientation != 1:
        raise DamagedImageError(
            source.path, f"its EXIF orientation is {radiograph.orientation}; save it upright"
        )
    image, _ = make_square(radiograph.pixels, image_size, square)
    return {
        "image": image[:, :, None],
        "png_size": np.array([radiograph.width, radiograph.height], np.int32),
        **source.metadata,
    }


def _box_records(boxes: pd.DataFrame | None) -> list[Record]:
    if boxes is None:
        return []
    return [
        {"finding": box.finding, "box": np.array([box.x, box.y, box.w, box.h], np.float32)}
        for box in boxes.itertuples()
    ]
