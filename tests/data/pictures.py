"""Pictures of a release as Pillow alone reads them."""

from pathlib import Path

import numpy as np
from PIL import Image


def small_pixels(path: Path, side: int) -> np.ndarray:
    """Returns a gray picture as (side, side) uint8."""
    with Image.open(path) as image:
        small = image.convert("L").resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(small)
