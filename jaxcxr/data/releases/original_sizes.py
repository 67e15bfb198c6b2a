"""The sizes of the original radiographs, of which NIH's PNG files are resized copies."""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data.releases.archives import list_files
from jaxcxr.data.releases.nih import find_tables
from jaxcxr.data.releases.nih_lists import NAMES, ORIGINAL_SIZE, pick, read_table
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
    metadata = find_tables(root, list_files(root))
    tables = [read_table(path) for path in metadata]
    sizes = pd.concat([pick(table, NAMES | ORIGINAL_SIZE) for table in tables])
    if not {"width", "height"} <= {*sizes}:
        raise UserError(
            f"{metadata[0]} has no column OriginalImage[Width,Height]; give the size in pixels"
        )
    sizes = (
        sizes.set_index("image_name").reindex(list(images)).apply(pd.to_numeric, errors="coerce")
    )
    if len(unknown := sizes.index[~(sizes > 0).all(axis=1)]):
        raise UserError(
            f"{metadata[0]} has no original size of {unknown[0]}; give the size in pixels"
        )
    return sizes[["width", "height"]].to_numpy(np.float64)
