import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcxr.images.png import DamagedImageError, decode_png, looks_complete, png_size, read_png

SAMPLE = Path(__file__).parents[2] / "../shared/nih_sample/images"


@pytest.fixture
def gray() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)


def save(folder: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    path = folder / "radiograph.png"
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def test_gray_values_are_kept(tmp_path, gray):
    path = save(tmp_path, gray)
    np.testing.assert_array_equal(read_png(path), gray)
    assert read_png(path).dtype == np.uint8
    assert png_size(path) == decode_png(path)[1] == (30, 20)


def test_color_becomes_luminance_and_transparency_is_dropped(tmp_path, gray):
    alpha = np.arange(600, dtype=np.uint8).reshape(20, 30)
    equal = np.stack([gray, gray, gray, alpha], axis=-1)
    np.testing.assert_array_equal(read_png(save(tmp_path, equal)), gray)
    np.testing.assert_array_equal(read_png(save(tmp_path, np.stack([gray, alpha], -1))), gray)
    color = np.zeros((20, 30, 3), np.uint8)
    color[..., 1] = gray
    expected = 0.587 * gray  # ITU-R 601
    np.testing.assert_allclose(read_png(save(tmp_path, color)), expected, atol=1)


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    levels = np.arange(256, dtype=np.uint16)[None]
    for nearly in (0, 100):
        deep = np.where(levels < 255, 257 * levels + nearly, 65535).astype(np.uint16)
        np.testing.assert_array_equal(read_png(save(tmp_path, deep)), levels)


def test_palettes_and_bilevel_pictures(tmp_path, gray):
    palette = Image.fromarray(gray // 4).convert("P")
    palette.putpalette([value for level in range(256) for value in (level, level, level)])
    np.testing.assert_array_equal(read_png(save(tmp_path, palette)), gray // 4)
    bits = save(tmp_path, Image.fromarray(gray > 100))
    np.testing.assert_array_equal(read_png(bits), 255 * (gray > 100))


def test_resizing_averages_what_falls_together(tmp_path):
    blocks = np.random.default_rng(1).integers(0, 256, (4, 4), np.uint8)
    large = blocks.repeat(16, axis=0).repeat(16, axis=1)
    np.testing.assert_array_equal(read_png(save(tmp_path, large), image_size=64), large)
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = read_png(save(tmp_path, checkers.astype(np.uint8)), image_size=16)
    np.testing.assert_allclose(small, 127.5, atol=2)  # without antialiasing: 0 or 255
    assert read_png(save(tmp_path, blocks), image_size=8).shape == (8, 8)


@pytest.mark.skipif(not SAMPLE.exists(), reason="no real radiographs here")
def test_real_radiographs_of_each_kind():
    modes = {}
    for path in sorted(SAMPLE.glob("*.png")):
        with Image.open(path) as image:
            modes.setdefault(image.mode, path)
    assert set(modes) == {"L", "RGBA"}
    for path in modes.values():
        with Image.open(path) as image:
            expected = np.asarray(image.getchannel(0))  # all color channels are equal
        np.testing.assert_array_equal(read_png(path), expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"GIF89a and more", "no PNG file"),
        (b"\x89PNG\r\n\x1a\n", "0×0 pixels"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 10**6, 10**6), "1000000×1000000"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, content, reason):
    path = tmp_path / "radiograph.png"
    path.write_bytes(content)
    with pytest.raises(DamagedImageError, match=f"^{path}: {reason}"):
        read_png(path)
    assert not looks_complete(path)


def test_other_formats_and_animations_are_refused(tmp_path, gray):
    path = tmp_path / "radiograph.png"
    Image.fromarray(gray).save(path, format="JPEG")
    with pytest.raises(DamagedImageError, match="no PNG file"):
        read_png(path)
    with pytest.raises(DamagedImageError, match="no PNG file"):
        png_size(path)
    frames = [Image.fromarray(gray), Image.fromarray(255 - gray)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(DamagedImageError, match="an animation"):
        read_png(path)


def test_files_that_are_gone(tmp_path):
    for read in (read_png, png_size):
        with pytest.raises(DamagedImageError, match=r"gone\.png: No such file"):
            read(tmp_path / "gone.png")
    assert not looks_complete(tmp_path / "gone.png")


def png_bytes() -> bytes:
    """Returns a PNG that compresses well, as radiographs do."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(2).integers(0, 4, (120, 120))
    slope = np.add.outer(np.arange(120), np.arange(120)) // 2
    Image.fromarray((slope + noise).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


WHOLE = png_bytes()
END = 12
"""Bytes of the end mark, behind the pixels."""


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, len(WHOLE) - END - 1))
def test_truncated_files_are_refused(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "cut.png"
    path.write_bytes(WHOLE[:cut])
    assert not looks_complete(path)
    with pytest.raises(DamagedImageError):
        read_png(path)


@settings(max_examples=300, deadline=None)
@given(
    # Decoding alone accepts some flips in the last rows.
    bit=st.integers(0, 8 * len(WHOLE) - 1) | st.integers(8 * (len(WHOLE) - 300), 8 * len(WHOLE) - 1)
)
def test_a_flipped_bit_is_never_accepted(tmp_path_factory, bit):
    damaged = bytearray(WHOLE)
    damaged[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.getbasetemp() / "flipped.png"
    path.write_bytes(damaged)
    try:
        pixels = read_png(path)
    except DamagedImageError:
        return
    path.write_bytes(WHOLE)  # a flip that no pixel depends on
    np.testing.assert_array_equal(pixels, read_png(path))


@pytest.mark.parametrize("orientation", [0, 1, 3, 6])
def test_what_asks_to_be_turned_is_refused(tmp_path, gray, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, gray, exif=exif)
    if orientation < 2:
        np.testing.assert_array_equal(read_png(path), gray)
    else:
        with pytest.raises(DamagedImageError, match=f"EXIF orientation is {orientation}"):
            read_png(path)


def test_every_sixteen_bit_level_is_rounded(tmp_path):
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(read_png(save(tmp_path, levels)), np.round(levels / 257))
