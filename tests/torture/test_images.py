"""Image and DICOM files, complete and damaged, for the reader of radiographs."""

import functools
import struct
import zlib
from io import BytesIO

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxcxr.images.radiograph import read_radiograph
from tests.dicom_files import dicom_bytes
from tests.torture.damage import SEEDS, damaged
from tests.torture.limits import campaign, read_or_refuse

NAMES = ("a.png", "a.PNG", "a.jpg", "a.dcm", "a.txt", "a", "-a.png", "ä ö.png", "a[1]*.png")
SIDES = st.integers(32, 120)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD = len(SIGNATURE) + 25
"""Bytes of a PNG file to the end of its header."""


@pytest.fixture
def read(tmp_path):
    """Reads a file of any name; returns its pixels, None where it is refused."""

    def read(content, name="a.png"):
        path = tmp_path / name
        path.write_bytes(content)
        pixels = read_or_refuse(lambda: read_radiograph(path).pixels, names=name)
        assert pixels is None or (pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.size)
        return pixels

    return read


def same(pixels, expected, tolerance=0):
    shapes = pixels.shape == expected.shape
    return shapes and np.abs(pixels.astype(int) - expected).max() <= tolerance


def encoded(pixels, format_, **options):
    """Returns the image file that Pillow writes of an array or image."""
    buffer = BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(kind, data):
    """Returns a chunk of a PNG file with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width, height, depth=8, color=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


@st.composite
def noise(draw):
    """(H, W) uint8 that compresses as radiographs do; 0 and 255 occur."""
    height, width, rng = draw(SIDES), draw(SIDES), np.random.default_rng(draw(SEEDS))
    slope = np.add.outer(np.arange(height) * draw(st.integers(1, 2)), np.arange(width))
    pixels = (slope % 200 + rng.integers(0, 8, (height, width))).astype(np.uint8)
    pixels.flat[0], pixels.flat[-1] = 0, 255
    return pixels


@st.composite
def smooth(draw):
    """(H, W) uint8 without edges, which JPEG keeps nearly as they are."""
    slope = np.add.outer(np.linspace(0, 1, draw(SIDES)), np.linspace(0, 1, draw(SIDES)))
    return np.rint(20 + 100 * slope).astype(np.uint8)


@st.composite
def pngs(draw):
    """A PNG of any color type with texts and other chunks, and its gray values."""
    gray, rng = draw(noise()), np.random.default_rng(draw(SEEDS))
    image = Image.fromarray(gray).convert(draw(st.sampled_from(("L", "RGB", "P", "LA", "RGBA"))))
    info = PngInfo()
    info.add_text("Comment", "a radiograph", zip=draw(st.booleans()))
    info.add_itxt("Comment", "Röntgen")
    info.add(b"vpAg", rng.bytes(9))
    options = {"pnginfo": info, "icc_profile": rng.bytes(300)} if draw(st.booleans()) else {}
    return encoded(image, "PNG", **options), gray


@st.composite
def jpegs(draw):
    """A JPEG of gray, RGB or CMYK, and about what it shows."""
    gray, mode = draw(smooth()), draw(st.sampled_from(("L", "RGB", "CMYK")))
    options = {"quality": draw(st.integers(90, 100)), "progressive": draw(st.booleans())}
    return encoded(Image.fromarray(gray).convert("RGB").convert(mode), "JPEG", **options), gray


SYNTAXES = (
    "ExplicitVRLittleEndian",
    "ImplicitVRLittleEndian",
    "ExplicitVRBigEndian",
    "RLELossless",
    "DeflatedExplicitVRLittleEndian",
)


@st.composite
def dicoms(draw):
    """A DICOM file of some depth, sign, syntax and window, and the pixels to be shown."""
    gray, bits = draw(noise()), draw(st.sampled_from((8, 10, 12, 16)))
    signed = bits > 8 and draw(st.booleans())
    levels = np.rint(gray.astype(float) * (2**bits - 1) / 255) - (2 ** (bits - 1) if signed else 0)
    stored = levels.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    slope, intercept = draw(st.sampled_from(((1, 0), (2, -100))))
    elements = {"RescaleSlope": slope, "RescaleIntercept": intercept, "SOPInstanceUID": "1.2.3"}
    if draw(st.booleans()):  # a window that shows everything
        low, high = (slope * float(value) + intercept for value in (stored.min(), stored.max()))
        elements |= {"WindowCenter": (low + high + 1) / 2, "WindowWidth": high - low + 1}
    photometric = draw(st.sampled_from(("MONOCHROME1", "MONOCHROME2")))
    syntax = draw(st.sampled_from(SYNTAXES))
    if syntax == "ExplicitVRBigEndian" and bits > 8:
        elements["PixelData"] = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    content = dicom_bytes(stored, bits, photometric, syntax=syntax, **elements)
    return content, 255 - gray if photometric == "MONOCHROME1" else gray


FORMATS = {"PNG": (pngs(), 0), "JPEG": (jpegs(), 12), "DICOM": (dicoms(), 1)}
"""Files with the gray values that they show, and the tolerance."""


@pytest.mark.parametrize("format_", FORMATS)
@campaign(0.04)
@given(st.data(), st.sampled_from(NAMES))
def test_complete_file_is_read_whatever_its_name(read, format_, data, name):
    files, tolerance = FORMATS[format_]
    content, gray = data.draw(files)
    assert same(read(content, name), gray, tolerance)


@pytest.mark.parametrize("format_", FORMATS)
@campaign(0.04)
@given(st.data())
def test_cut_file_is_refused_or_shows_everything(read, format_, data):
    """Padding behind the pixels may be gone."""
    files, tolerance = FORMATS[format_]
    content, gray = data.draw(files)
    pixels = read(content[: data.draw(st.integers(0, len(content) - 1))])
    assert pixels is None or same(pixels, gray, tolerance)


@pytest.mark.parametrize("format_", FORMATS)
@campaign(0.07)
@given(st.data())
def test_damaged_file_is_refused_or_read(read, format_, data):
    """JPEG and DICOM have no checksums: only the form of what is accepted is known."""
    content, gray = data.draw(FORMATS[format_][0])
    # The first bytes of a DICOM file, but for 132, determine how all others are read.
    first, end = (132, data.draw(st.sampled_from((732, None)))) if format_ == "DICOM" else (0, None)
    pixels = read(data.draw(damaged(content[:end], first)) + content[len(content[:end]) :])
    assert pixels is None or format_ != "PNG" or same(pixels, gray)


@campaign(0.02)
@given(noise(), st.sampled_from(("GIF", "BMP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000")))
def test_other_image_formats_are_refused_or_read_exactly(read, gray, format_):
    pixels = read(encoded(gray, format_))
    assert pixels is None or same(pixels, gray)


@campaign(0.02)
@given(
    st.sampled_from((b"", b"%PDF-1.7\n", b"PK\x03\x04", SIGNATURE, b"\xff\xd8\xff\xe0", b"DICM")),
    st.binary() | st.sampled_from((bytes(3000), b"<!DOCTYPE html>", chunk(b"IEND", b""))),
)
def test_what_is_not_an_image_is_refused(read, start, rest):
    assert read(start + rest) is None


@campaign(0.03)
@given(noise(), st.data())
def test_png_forged_under_right_checksums_is_refused_or_read(read, gray, data):
    """Damage to the header, or to the compressed pixels."""
    height, width = gray.shape
    if data.draw(st.booleans()):
        stream = zlib.compress(np.pad(gray, ((0, 0), (1, 0))).tobytes())
        pixels = chunk(b"IDAT", data.draw(damaged(stream))) + chunk(b"IEND", b"")
        read(SIGNATURE + header(width, height) + pixels)
    else:
        side = st.sampled_from((width, height, 0, 1, 31, 2**16, 2**31 - 1, 2**31, 2**32 - 1))
        depth, color = (data.draw(st.sampled_from(s)) for s in ((8, 1, 2, 4, 16, 7), range(8)))
        forged = header(data.draw(side), data.draw(side), depth, color)
        read(SIGNATURE + forged + encoded(gray, "PNG")[HEAD:])


@functools.cache
def zeros(megabytes):
    """Returns so many zeros as a zlib stream."""
    deflate = zlib.compressobj(9)
    million = bytes(10**6)
    return b"".join(deflate.compress(million) for _ in range(megabytes)) + deflate.flush()


def png_around(chunks):
    """Returns a small PNG with more chunks between its header and its pixels."""
    small = encoded(np.tile(np.arange(64, dtype=np.uint8), (64, 1)), "PNG")
    return small[:HEAD] + chunks + small[HEAD:]


def black_png(width, height, depth=8, color=0, megabytes=1):
    """Returns a PNG of so many zeros; color types 0: gray, 2: RGB, 6: RGBA."""
    pixels = chunk(b"IDAT", zeros(megabytes)) + chunk(b"IEND", b"")
    return SIGNATURE + header(width, height, depth, color) + pixels


BOMBS = {
    "400 MB of pixels too many": lambda: black_png(64, 64, megabytes=400),
    "text of 400 MB": lambda: png_around(chunk(b"zTXt", b"Comment\0\0" + zeros(400))),
    "profile of 400 MB": lambda: png_around(chunk(b"iCCP", b"profile\0\0" + zeros(400))),
    "100,000 texts": lambda: png_around(chunk(b"tEXt", b"a\0b") * 100_000),
    "gray of 40 million pixels": lambda: black_png(5700, 7000, megabytes=41),
    "RGBA of 16 bits and 40 million pixels": lambda: black_png(5700, 7000, 16, 6, 322),
    "progressive CMYK": lambda: encoded(Image.new("CMYK", (5700, 7000)), "JPEG", progressive=True),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_and_largest_images_stay_within_the_limits(read, bomb):
    read(BOMBS[bomb]())


VALUES = {
    "Rows": (0, 1, 31, 65535),
    "Columns": (0, 1, 31, 65535),
    "BitsAllocated": (0, 1, 4, 8, 16, 24, 32, 64, 65535),
    "BitsStored": (0, 1, 7, 17, 64, 65535),
    "HighBit": (0, 3, 31, 65535),
    "PixelRepresentation": (0, 1, 2, 65535),
    "SamplesPerPixel": (0, 2, 3, 4, 65535),
    "PlanarConfiguration": (0, 1, 2),
    "NumberOfFrames": ("0", "1", "2", "-1", "2147483647", ""),
    "PhotometricInterpretation": ("", "RGB", "YBR_FULL", "PALETTE COLOR", "ARGB", "MONOCHROME3"),
    "PixelPaddingValue": (0, 255, 65535),
    "PixelPaddingRangeLimit": (0, 255, 65535),
    "RescaleSlope": ("0", "-1", "1e300", "-1e308", "1e-300", ""),
    "RescaleIntercept": ("0", "1e308", "-1e300", ""),
    "WindowCenter": ("0", "1e308", "-1e308", "", ["1", "2"]),
    "WindowWidth": ("0", "-1", "1", "0.5", "1e308", "", ["1", "2"]),
    "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "LINEAR", "CUBIC", ""),
    "PixelData": (b"", b"\0", bytes(100), bytes(10**6)),
}
"""Elements that contradict the pixels, each other or themselves; None deletes one."""


@campaign(0.03)
@given(dicoms(), st.data())
def test_dicom_of_contradictory_elements_is_refused_or_read(read, dicom, data):
    import pydicom
    from pydicom.encaps import encapsulate

    dataset = pydicom.dcmread(BytesIO(dicom[0]))
    for keyword in data.draw(st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=True)):
        value = data.draw(st.sampled_from((None, *VALUES[keyword])))
        if value is None:
            dataset.pop(keyword, None)
        elif keyword.startswith("PixelPadding"):
            dataset.add_new(keyword, "US", value)
        else:
            setattr(dataset, keyword, value)
    if data.draw(st.booleans()):
        item = pydicom.Dataset()
        counts = st.sampled_from((0, 1, 200, 256, 5000, 65535))
        first, count, stored = (
            data.draw(st.integers(0, 65535)),
            data.draw(counts),
            data.draw(counts),
        )
        item.add_new("LUTDescriptor", "US", [count, first, 16])
        item.add_new("LUTData", "OW", np.random.default_rng(first).bytes(2 * stored))
        setattr(
            dataset, data.draw(st.sampled_from(("VOILUTSequence", "ModalityLUTSequence"))), [item]
        )
    if dataset.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in dataset:
        dataset.PixelData = encapsulate([dataset.PixelData or b"\0\0"])
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    read(buffer.getvalue(), "IM0001")


def endless_dicoms():
    """Returns what only begins as a DICOM file, and what never ends."""
    gray = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    whole = dicom_bytes(gray, 8)
    data = whole.index(b"\x08\x00\x16\x00")
    deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return {
        "nothing else": bytes(128) + b"DICM",
        "no elements": whole[:data],
        "nesting": whole[:data] + deep * 20_000,
        "zeros": whole[:data] + bytes(2 * 10**7),
        "pixels of 2 GB": whole[:data] + b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\x7f" + bytes(500),
    }


def test_dicom_without_end_is_refused_within_the_limits(read):
    for kind, content in endless_dicoms().items():
        assert read(content, "IM0001") is None, kind
