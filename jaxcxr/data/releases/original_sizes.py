"""The sizes of the original radiographs, of which NIH's PNG files are resized copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data.releases.nih import METADATA_NAMES
from jaxcxr.errors import UserError


def original_sizes(root: Path, images: Sequence[str]) -> np.ndarray:
    """Reads `OriginalImage[Width,Height]` of a release's metadata.

    Args:
        root: Folder of the release.
        images: Names of its radiographs.

    Returns:
        (N, 2) float64, width and height in pixels.

    Raises:
        UserError: The metadata has no such columns, or no size of one of the images.
    """
    metadata = next(path for name in METADATA_NAMES if (path := root / name).is_file())
    with metadata.open(encoding="utf-8-sig") as file:
        header = file.readline().replace('"', "").strip().split(",")
    try:
        place = header.index("OriginalImage[Width")
    except ValueError:
        raise UserError(
            f"{metadata} has no column OriginalImage[Width,Height]; give the size in pixels"
        ) from None
    columns = {0: "image_name", place: "width", place + 1: "height"}
    table = pd.read_csv(metadata, header=None, skiprows=1, usecols=[*columns], dtype=str)
    table = table.rename(columns=columns).set_index("image_name").loc[list(images)]
    sizes = table.apply(pd.to_numeric, errors="coerce")
    if len(unknown := sizes.index[~(sizes > 0).all(axis=1)]):
        raise UserError(f"{metadata} has no original size of {unknown[0]}; give the size in pixels")
    return sizes.to_numpy(np.float64)
