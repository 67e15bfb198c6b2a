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

from jaxcxr.data.png import decode_png
from jaxcxr.findings import FINDINGS

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """A radiograph's file, and what the release's lists say about it.

    Attributes:
        path: The PNG file.
        facts: Every field of the record that does not come from the file.
    """

    path: Path
    facts: Record

    @property
    def image_name(self) -> str:
        """Name of the radiograph, the key of its record."""
        return self.facts["image_name"]


def sources(
    images: pd.DataFrame, boxes: pd.DataFrame, paths: Mapping[str, Path]
) -> Iterator[Source]:
    """Yields the source of each row of `Release.images`, in its order."""
    boxes_of = {str(name): rows for name, rows in boxes.groupby("image_name", sort=False)}
    labels = images[list(FINDINGS)].to_numpy(np.uint8)
    for row, vector in zip(images.itertuples(index=False), labels, strict=True):
        facts = {
            "image_name": row.image_name,
            "labels": vector,
            "patient": row.patient,
            "age": row.age,
            "sex": row.sex,
            "view": row.view,
            "follow_up": row.follow_up,
            "boxes": _box_records(boxes_of.get(str(row.image_name))),
        }
        yield Source(paths[str(row.image_name)], facts)


def read_record(source: Source, image_size: int) -> Record:
    """Decodes one radiograph and returns its record.

    Raises:
        UserError: The file is damaged; see `jaxcxr.data.png.read_png`.
    """
    pixels, png_size = decode_png(source.path, image_size)
    return {
        "image": pixels[:, :, None],
        "png_size": np.array(png_size, np.int32),
        **source.facts,
    }


def _box_records(boxes: pd.DataFrame | None) -> list[Record]:
    if boxes is None:
        return []
    return [
        {"finding": box.finding, "box": np.array([box.x, box.y, box.w, box.h], np.float32)}
        for box in boxes.itertuples()
    ]
