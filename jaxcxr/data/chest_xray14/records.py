"""One radiograph of a release as a record of the prepared dataset."""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.data.releases.archives import read_images
from jaxcxr.data.releases.release import Release
from jaxcxr.findings import FINDINGS
from jaxcxr.images.plausibility import suspicions
from jaxcxr.images.radiograph import DamagedImageError, read_radiograph
from jaxcxr.images.square import SquareRule, make_square

Record = dict[str, Any]
"""Fields of the dataset by name."""


def listed_records(
    images: pd.DataFrame, release: Release
) -> Iterator[tuple[Path, Record, bytes | None]]:
    """Yields what the lists contain about radiographs: files in their order, then archives.

    Args:
        images: Rows of `Release.images`, each with a file.
        release: The release.

    Yields:
        The path, every field that does not come from the pixels, and the bytes if the file is in an
        archive.

    Raises:
        UserError: An archive is damaged.
    """
    boxes_of: dict[str, list[Record]] = {}
    for box in release.boxes.itertuples():
        sides = np.array([box.x, box.y, box.w, box.h], np.float32)
        boxes_of.setdefault(box.image_name, []).append({"finding": box.finding, "box": sides})
    labels = images[list(FINDINGS)].to_numpy()
    fields = ["image_name", "source", "patient", "age", "sex", "view", "follow_up"]
    in_archives: dict[Path, dict[str, Record]] = {}
    for row, vector in zip(images[fields].itertuples(index=False), labels, strict=True):
        name = str(row.image_name)
        record = row._asdict() | {"labels": vector, "boxes": boxes_of.get(name, [])}
        record["patient"] = str(row.patient)
        if path := release.image_paths.get(name):
            yield path, record, None
        else:
            image = release.archived[name]
            in_archives.setdefault(image.archive, {})[image.member] = record
    for archive, records in sorted(in_archives.items()):
        for member, content in read_images(archive):
            if member in records:
                yield archive / member, records[member], content


def read_record(
    path: Path, record: Record, content: bytes | None, image_size: int, square: SquareRule
) -> Record:
    """Decodes one radiograph.

    Args:
        path: The file, or its place in an archive.
        record: Every field that does not come from the pixels.
        content: The bytes of a file in an archive.
        image_size: Height and width to store, in pixels.
        square: How the radiograph becomes square.

    Returns:
        The complete record, and as `notes` what may be wrong with the picture.

    Raises:
        DamagedImageError: The file is damaged (see `jaxcxr.images.radiograph.read_radiograph`), or
            its EXIF orientation turns it: boxes are in pixels as they are stored.
    """
    radiograph = read_radiograph(path, content)
    if radiograph.orientation != 1:
        raise DamagedImageError(
            path, f"its EXIF orientation is {radiograph.orientation}; save it upright"
        )
    image = np.rint(make_square(radiograph.pixels, image_size, square)[0]).astype(np.uint8)
    size = np.array([radiograph.width, radiograph.height], np.int32)
    notes = (*radiograph.notes, *suspicions(radiograph.pixels))
    return {"image": image[:, :, None], "png_size": size, **record, "notes": notes}
