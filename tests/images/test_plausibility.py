"""The reference: real radiographs, as they are, inverted and turned."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcxr.images.plausibility import suspicions
from jaxcxr.images.radiograph import read_radiograph

REAL = Path(__file__).parents[2] / "../shared/nih_real256/images"

CHANGES = {  # each of these, and the word of the remark on it
    "inverted": lambda pixels: 255 - pixels,
    "90° clockwise": lambda pixels: np.rot90(pixels, -1),
    "90° counterclockwise": np.rot90,
    "upside down": lambda pixels: np.rot90(pixels, 2),
}


@pytest.mark.skipif(not REAL.exists(), reason="the real radiographs are not here")
def test_real_radiographs():
    """Every eighth; docs/data.md has the rates of all."""
    radiographs = [read_radiograph(path).pixels for path in sorted(REAL.iterdir())[::8]]
    assert sum(map(bool, map(suspicions, radiographs))) <= 0.01 * len(radiographs)
    for word, change in CHANGES.items():
        found = [" ".join(suspicions(change(pixels))) for pixels in radiographs]
        assert sum(word in remarks for remarks in found) >= 0.95 * len(radiographs)


def test_a_long_picture_and_one_of_a_single_gray_value():
    (remark,) = suspicions(np.full((100, 200), 7, np.uint8))
    assert remark == "200×100 pixels are unusually long for a chest"
    assert not suspicions(np.full((100, 150), 7, np.uint8))


def test_colored_pictures_are_noted_and_gray_ones_in_colors_are_not(tmp_path):
    rng = np.random.default_rng(0)
    gray = np.repeat(rng.integers(0, 256, (64, 64, 1), np.uint8), 3, axis=2)
    colored = gray.copy()
    colored[:, :32, 2] = 255 - colored[:, :32, 2]
    for pixels, notes in ((gray, ()), (colored, ("is colored; a radiograph is gray",))):
        for mode in ("RGB", "RGBA", "P"):
            Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")
            assert read_radiograph(tmp_path / "a.png").notes == notes
