"""Image files that radiographs may come in, and files that are none.

The fuzz tests, `tests/torture/test_images.py`, read PNG and JPEG files of every kind.
"""

import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.images import radiograph as images
from jaxcxr.images.radiograph import (
    DamagedImageError,
    picture_size,
    read_radiograph,
)
from jaxcxr.images.search import find_radiographs
from tests.dicom_files import encoded

NIH_SAMPLE = Path(__file__).parents[2] / "../shared/nih_sample/images"


@pytest.fixture
def gray():
    return np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)


def save(path, image, **options):
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **options)
    return path


def png(width, height, *, depth=8, color=0, rows=b"", extra=b""):
    """Returns a PNG file with a header of one's choice."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + body


def png_of(samples, color):
    """Returns a 16-bit PNG file of (H, W, C) uint16 samples."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(samples.shape[1], samples.shape[0], depth=16, color=color, rows=rows)


def test_transparency_is_ignored(gray):
    colors = np.stack([gray, gray, gray, np.arange(2000).reshape(40, 50) % 256], -1).astype("u1")
    for content in (encoded(colors, "PNG"), encoded(gray, "PNG", transparency=7)):
        np.testing.assert_array_equal(read_radiograph("a", content).pixels, gray)


@pytest.mark.parametrize("options", [{}, {"transparency": 3}, {"transparency": bytes(range(256))}])
def test_palette(tmp_path, gray, options):
    image = Image.fromarray(gray, "L").convert("P")
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    path = save(tmp_path / "a.png", image, **options)
    np.testing.assert_array_equal(read_radiograph(path).pixels, 255 - gray)


@pytest.mark.parametrize("greatest", [1023, 4095, 65535])
def test_16_bit_gray_fills_the_range(tmp_path, greatest):
    deep = np.linspace(0, greatest, 2000).reshape(40, 50).astype(np.uint16)
    pixels = read_radiograph(save(tmp_path / "a.png", deep)).pixels
    np.testing.assert_array_equal(pixels, np.rint(255 * (deep / greatest)))


@pytest.mark.parametrize(("color", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_16_bit_colors(tmp_path, gray, color, channels):
    samples = np.repeat(gray.astype(np.uint16)[..., None] * 257, channels, axis=-1)
    (tmp_path / "a.png").write_bytes(png_of(samples, color))
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.png").pixels, gray)
    (tmp_path / "b.png").write_bytes(png_of(samples // 16, color))
    with pytest.raises(UserError, match="upper bits are unused"):
        read_radiograph(tmp_path / "b.png")


def test_stored_size_and_orientation_are_reported(gray):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(np.rot90(gray).copy(), "PNG", exif=exif)
    radiograph = read_radiograph("a.png", content)
    np.testing.assert_array_equal(radiograph.pixels, gray)
    assert (radiograph.width, radiograph.height, radiograph.orientation) == (50, 40, 6)
    assert picture_size("a.png", content) == (40, 50)


@pytest.mark.skipif(not NIH_SAMPLE.exists(), reason="NIH radiographs are not beside the checkout")
def test_real_radiographs():
    for path in sorted(NIH_SAMPLE.glob("*.png"))[:12]:
        radiograph = read_radiograph(path)
        assert (radiograph.width, radiograph.height) == (1024, 1024)
        with Image.open(path) as image:
            np.testing.assert_array_equal(radiograph.pixels, np.asarray(image.convert("L")))


def animation(gray):
    frames = [Image.fromarray(gray), Image.fromarray(255 - gray)]
    return encoded(gray, "PNG", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, 0 bytes"),
        (b"Patient has a cough.", "expected a PNG, JPEG, TIFF, BMP or DICOM file"),
        (b"GIF89a" + bytes(200), "expected a PNG, JPEG, TIFF, BMP or DICOM file"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff", "damaged"),
        (bytes(128) + b"DICM", "without an image"),
        (png(30_000, 30_000), "30000×30000 pixels; at most"),
        (png(2**31 - 1, 2**31 - 1), "2147483647×2147483647 pixels"),
        (png(1, 1, rows=b"\0\0"), "1×1 pixels; a radiograph has at least 32×32"),
        (png(31, 100), "31×100 pixels"),
        (png(40, 400), "40×400 pixels; a radiograph is at most 8 times as long as wide"),
        (png(40, 40)[:-14], "damaged"),
        (animation(np.zeros((40, 40), np.uint8)), "animation"),
        (encoded(np.full((40, 40), 777, np.uint16), "PNG"), "all its pixels have the gray value"),
        (encoded(np.zeros((40, 40), np.uint8), "PNG"), "all its pixels have one gray value"),
    ],
)
def test_refuses(content, message, monkeypatch):
    if "30000" in message:
        monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UserError, match=message) as caught:
        read_radiograph("a.png", content)
    assert str(caught.value).startswith("a.png: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(32, 256), (256, 32)])
def test_smallest_and_longest_radiograph_is_read(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(read_radiograph("a", encoded(pixels, "PNG")).pixels, pixels)


def test_marker_on_an_even_16_bit_picture_is_white():
    """The central 99.8 % of the pixels have no range of their own."""
    pixels = np.full((60, 60), 1000, np.uint16)
    pixels[3, 4] = 5000
    expected = np.where(pixels == 5000, 255, 0)
    np.testing.assert_array_equal(read_radiograph("a", encoded(pixels, "PNG")).pixels, expected)


def test_a_marker_far_from_the_other_values_does_not_stretch_them():
    pixels = np.random.default_rng(0).integers(1000, 5000, (60, 60)).astype(np.uint16)
    pixels[3, 4] = 60_000
    low, high = np.quantile(pixels, [0.001, 0.999], method="inverted_cdf").astype(float)
    radiograph = read_radiograph("a", encoded(pixels, "PNG"))
    expected = np.rint(255 * np.clip((pixels - low) / (high - low), 0, 1))
    np.testing.assert_array_equal(radiograph.pixels, expected)
    assert radiograph.notes[0].startswith("a few pixels lie far from the others")


def test_refuses_what_is_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_radiograph(tmp_path / "missing.png")
    with pytest.raises(UserError, match="no such file"):
        read_radiograph("x" * 5000)
    for place in (tmp_path, Path("/dev/zero")):
        with pytest.raises(DamagedImageError, match="not a regular file") as caught:
            read_radiograph(place)
        assert caught.value.path == place
    path = tmp_path / "huge.dcm"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(UserError, match="files of at most"):
        read_radiograph(path)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "BMP"])
def test_bytes_and_file_are_read_alike(tmp_path, gray, format_):
    content = encoded(gray, format_)
    path = tmp_path / "a.png"  # the name does not matter
    path.write_bytes(content)
    for given_content in (None, content):
        radiograph = read_radiograph(path, given_content)
        assert radiograph.format == format_
        assert picture_size(path, given_content) == (50, 40)
        with Image.open(path) as image:
            np.testing.assert_array_equal(radiograph.pixels, np.asarray(image))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_tiff(tmp_path, gray, dtype, white_is_zero, compression):
    if white_is_zero and dtype == "int32":
        pytest.skip("Pillow does not read it")
    gray.flat[:2] = 0, 255
    deep = (gray.astype(float) * {"uint16": 257, "int32": 2**20}.get(dtype, 1)).astype(dtype)
    content = encoded(deep, "TIFF", compression=compression, tiffinfo={262: 1 - white_is_zero})
    is_stored_inverted = white_is_zero and dtype == "uint8"  # Pillow inverts 8 bits as it writes
    expected = 255 - gray if white_is_zero and not is_stored_inverted else gray
    np.testing.assert_array_equal(read_radiograph("a.tif", content).pixels, expected)


def tiff_of_colors(samples):
    """Returns an uncompressed TIFF file of (H, W, 3) uint16; Pillow writes none."""
    height, width, _ = samples.shape
    data = samples.astype("<u2").tobytes()
    end = 8 + len(data)
    tags = {256: width, 257: height, 258: end, 259: 1, 262: 2}
    tags |= {273: 8, 277: 3, 278: height, 279: len(data)}
    entries = (
        struct.pack("<HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
        for tag, value in tags.items()
    )
    directory = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    bits = struct.pack("<3H", 16, 16, 16)
    return b"II*\0" + struct.pack("<I", end + len(bits)) + data + bits + directory


def test_tiff_of_16_bit_colors(gray):
    samples = np.repeat(gray.astype(np.uint16)[..., None] * 257, 3, axis=-1)
    pixels = read_radiograph("a.tif", tiff_of_colors(samples)).pixels
    np.testing.assert_array_equal(pixels, gray)
    with pytest.raises(UserError, match="upper bits are unused"):
        read_radiograph("a.tif", tiff_of_colors(samples // 16))


def test_first_page_of_a_tiff_is_used_with_a_note(gray):
    other = Image.fromarray(gray // 2)
    radiograph = read_radiograph(
        "a.tif", encoded(gray, "TIFF", save_all=True, append_images=[other])
    )
    assert radiograph.notes == ("holds several pages; the first one is used",)
    np.testing.assert_array_equal(radiograph.pixels, gray)


@pytest.fixture
def folder(tmp_path, gray, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "deep/er/c.dcm", "notes.txt", ".hidden.png", "deep/.x/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    (tmp_path / "deep/IM0001").write_bytes(bytes(128) + b"DICM")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["b.png"], ["b.png"]),
        (["b.png", "deep/../b.png"], ["b.png"]),
        (["."], ["a.JPG", "b.png", "deep/IM0001", "deep/er/c.dcm"]),
        (["deep", "b.png"], ["b.png", "deep/IM0001", "deep/er/c.dcm"]),
        (["notes.txt"], ["notes.txt"]),
        (["missing.png"], ["missing.png"]),
    ],
)
def test_find_radiographs(folder, arguments, expected):
    assert [str(path) for path in find_radiographs(arguments)] == expected


@pytest.mark.parametrize("arguments", [[], ["empty"], ["b.png", "empty"]])
def test_finds_nothing(folder, arguments):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="name"):
        find_radiographs(arguments)


def test_warnings_of_readers_are_ignored_until_the_last_thread_is_done(monkeypatch, tmp_path):
    """Files are read side by side; the filters of warnings belong to the process."""
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(tmp_path / "a.tif")
    together = threading.Barrier(2, timeout=60)

    def warn(data, format_):
        together.wait()
        warnings.warn("a reader's remark", stacklevel=1)
        return decode(data, format_)

    decode = images._decode
    monkeypatch.setattr(images, "_decode", warn)
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            read = list(pool.map(read_radiograph, [tmp_path / "a.tif"] * 2))
            assert [one.width for one in read] == [64, 64]
    assert warnings.filters == before
