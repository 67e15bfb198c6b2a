"""Image and DICOM files, complete and damaged, for the reader of radiographs."""

from io import BytesIO

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxcxr.images.radiograph import read_radiograph
from tests.dicom_files import dicom_bytes, encoded
from tests.torture.damage import SEEDS, damaged
from tests.torture.limits import campaign, read_or_refuse

NAMES = ("a.PNG", "a.jpg", "a", "-a.png", "ä ö.png", "a[1]*.png")
SIDES = st.integers(32, 120)


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
