"""DICOM files of the kinds that X-ray departments send, against the standard's formulas."""

import time
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.images import dicom
from jaxcxr.images.radiograph import read_radiograph
from tests.dicom_files import encoded

pydicom = pytest.importorskip("pydicom")


def ramp(bits, *, shape=(40, 50), signed=False):
    """Returns stored values from the lowest to the highest that the bits hold."""
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.rint(np.linspace(low, low + 2**bits - 1, shape[0] * shape[1]))
    kind = "i" if signed else "u"
    return values.reshape(shape).astype(f"{kind}{1 if bits == 8 else 2}")


def eight_bit(brightness):
    return np.rint(255 * np.clip(brightness, 0, 1)).astype(np.uint8)


def linear_window(values, center, width):
    """PS3.3, C.11.2.1.2.1."""
    return eight_bit((values - (center - 0.5)) / (width - 1) + 0.5)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_values_without_a_window_fill_the_range(write_dicom, bits):
    stored = ramp(bits)
    radiograph = read_radiograph(write_dicom(stored, bits))
    assert (radiograph.format, radiograph.width, radiograph.height) == ("DICOM", 50, 40)
    assert radiograph.pixels.dtype == np.uint8
    np.testing.assert_array_equal(radiograph.pixels, eight_bit(stored / (2**bits - 1)))


def test_plain_8_bit_values_stay(write_dicom):
    stored = ramp(8) // 2 + 20
    plain = read_radiograph(write_dicom(stored, 8))
    np.testing.assert_array_equal(plain.pixels, stored)
    inverted = read_radiograph(write_dicom(stored, 8, "MONOCHROME1"))
    np.testing.assert_array_equal(inverted.pixels, 255 - stored)
    rescaled = write_dicom(stored, 8, RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_array_equal(read_radiograph(rescaled).pixels, stored)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("bits", "signed"), [(12, False), (16, False), (12, True), (16, True)])
def test_window(write_dicom, photometric, bits, signed):
    stored = ramp(bits, signed=signed)
    center, width = int(np.quantile(stored, 0.4)), 2 ** (bits - 2)
    path = write_dicom(stored, bits, photometric, WindowCenter=center, WindowWidth=width)
    expected = linear_window(stored.astype(float), center, width)
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    assert abs(read_radiograph(path).pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        ("LINEAR_EXACT", lambda x, c, w: (x - c) / w + 0.5),
        ("SIGMOID", lambda x, c, w: 1 / (1 + np.exp(-4 * (x - c) / w))),
    ],
)
def test_window_functions(write_dicom, function, formula):
    stored = ramp(12)
    path = write_dicom(stored, 12, WindowCenter=1500, WindowWidth=900, VOILUTFunction=function)
    expected = eight_bit(formula(stored.astype(float), 1500, 900))
    assert abs(read_radiograph(path).pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("slope", "intercept"), [(2.5, -1000), (-1, 4095)])
def test_window_sees_rescaled_values(write_dicom, slope, intercept):
    stored = ramp(12)
    path = write_dicom(
        stored,
        12,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=[2000, 100],
        WindowWidth=[1200, 50],
    )
    expected = linear_window(slope * stored.astype(float) + intercept, 2000, 1200)
    assert abs(read_radiograph(path).pixels.astype(int) - expected).max() <= 1


def lut_item(first, entries, depth, *, packed=False):
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, depth]
    item.add_new("LUTData", "OW", entries.astype("u1" if packed else "<u2").tobytes())
    return item


@pytest.mark.parametrize(("depth", "packed"), [(8, False), (8, True), (12, False), (16, False)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_voi_lut_comes_before_the_window(write_dicom, depth, packed, photometric):
    stored = ramp(12)
    entries = np.rint((2**depth - 1) * np.linspace(0, 1, 2048) ** 2)
    path = write_dicom(
        stored,
        12,
        photometric,
        VOILUTSequence=[lut_item(1000, entries, depth, packed=packed)],
        WindowCenter=100,
        WindowWidth=10,
    )
    looked_up = entries[np.clip(stored.astype(int) - 1000, 0, 2047)]
    expected = eight_bit(looked_up / (2**depth - 1))
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)


def test_modality_lut_comes_before_the_window(write_dicom):
    stored = ramp(12)
    entries = np.rint(65535 * np.sqrt(np.linspace(0, 1, 4096)))
    path = write_dicom(
        stored,
        12,
        ModalityLUTSequence=[lut_item(0, entries, 16)],
        WindowCenter=32768,
        WindowWidth=20000,
    )
    expected = linear_window(entries[stored], 32768, 20000)
    assert abs(read_radiograph(path).pixels.astype(int) - expected).max() <= 1


def test_empty_window_counts_as_none(write_dicom):
    stored = ramp(12)
    path = write_dicom(stored, 12, WindowCenter=None, WindowWidth=None)
    np.testing.assert_array_equal(read_radiograph(path).pixels, eight_bit(stored / 4095))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_rle(write_dicom, bits, photometric):
    stored = ramp(bits)
    plain = read_radiograph(write_dicom(stored, bits, photometric, name="plain.dcm"))
    packed = read_radiograph(write_dicom(stored, bits, photometric, syntax="RLELossless"))
    np.testing.assert_array_equal(packed.pixels, plain.pixels)


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRBigEndian"])
def test_other_encodings(write_dicom, syntax):
    stored = ramp(12)
    written = stored.byteswap() if "Big" in syntax else stored
    path = write_dicom(
        stored,
        12,
        syntax=syntax,
        PixelData=written.tobytes(),
        WindowCenter=2000,
        WindowWidth=1000,
    )
    expected = linear_window(stored.astype(float), 2000, 1000)
    assert abs(read_radiograph(path).pixels.astype(int) - expected).max() <= 1


def test_jpeg_baseline(write_dicom):
    stored = ramp(8)
    frame = encoded(stored, "JPEG", quality=98)
    path = write_dicom(stored, 8, syntax="JPEGBaseline8Bit", frame=frame)
    assert abs(read_radiograph(path).pixels.astype(int) - stored).max() <= 3


@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_2000_lossless(write_dicom, bits):
    stored = ramp(bits)
    frame = encoded(stored, "JPEG2000", irreversible=False, no_jp2=True)
    path = write_dicom(stored, bits, syntax="JPEG2000Lossless", frame=frame)
    np.testing.assert_array_equal(read_radiograph(path).pixels, eight_bit(stored / (2**bits - 1)))


@pytest.mark.parametrize("bits", [8, 16])
def test_colors_become_luma(write_dicom, bits):
    colors = np.random.default_rng(0).integers(0, 2**bits, (40, 50, 3), f"u{bits // 8}")
    expected = np.array(Image.fromarray((colors >> (bits - 8)).astype(np.uint8)).convert("L"))
    np.testing.assert_array_equal(
        read_radiograph(write_dicom(colors, bits, "RGB")).pixels, expected
    )


def test_palette_becomes_luma(write_dicom):
    stored = ramp(8)
    ramps = {
        f"{color}PaletteColorLookupTable{part}": value
        for color in ("Red", "Green", "Blue")
        for part, value in [
            ("Descriptor", [256, 0, 16]),
            ("Data", (257 * np.arange(255, -1, -1)).astype("<u2").tobytes()),
        ]
    }
    path = write_dicom(stored, 8, PhotometricInterpretation="PALETTE COLOR", **ramps)
    np.testing.assert_array_equal(read_radiograph(path).pixels, 255 - stored)


def test_content_tells_the_format(write_dicom):
    assert read_radiograph(write_dicom(ramp(8), 8, name="IM000001")).format == "DICOM"


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": 65535, "Columns": 65535}, "65535×65535 pixels; at most"),
        ({"Rows": 1, "Columns": 1}, "1×1 pixels; a radiograph has at least 32×32"),
        ({"Rows": 400}, "damaged or not supported"),
        ({"NumberOfFrames": 7}, "7 frames"),
        ({"BitsAllocated": 32}, "32 bits per value"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0, "WindowCenter": 1, "WindowWidth": 9}, "usable"),
        ({"WindowCenter": 1, "WindowWidth": 0}, "Window Width"),
    ],
)
def test_refuses(write_dicom, elements, message):
    path = write_dicom(ramp(12), 12, **elements)
    with pytest.raises(UserError, match=message) as caught:
        read_radiograph(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_a_report_without_an_image(write_dicom, tmp_path):
    dataset = pydicom.dcmread(write_dicom(ramp(12), 12))
    for keyword in ("Rows", "Columns", "PixelData"):
        del dataset[keyword]
    dataset.save_as(tmp_path / "report.dcm")
    with pytest.raises(UserError, match="without an image"):
        read_radiograph(tmp_path / "report.dcm")


def test_deflated(write_dicom):
    stored = ramp(12)
    path = write_dicom(stored, 12, syntax="DeflatedExplicitVRLittleEndian")
    np.testing.assert_array_equal(read_radiograph(path).pixels, eight_bit(stored / 4095))


def test_deflated_file_grows_within_bounds(write_dicom, monkeypatch):
    path = write_dicom(ramp(12), 12, syntax="DeflatedExplicitVRLittleEndian")
    monkeypatch.setattr(dicom, "MAX_INFLATED", 1000)
    with pytest.raises(UserError, match="damaged"):
        read_radiograph(path)


def test_names_what_a_missing_decoder_needs(write_dicom):
    path = write_dicom(ramp(8), 8, syntax="JPEGLosslessSV1", frame=b"\xff\xd8\xff\xd9")
    with pytest.raises(UserError, match=r"JPEG Lossless|damaged"):
        read_radiograph(path)


def test_refuses_a_bomb_inside_a_small_image(write_dicom):
    frame = encoded(np.zeros((10_000, 10_000), np.uint8), "JPEG")
    path = write_dicom(ramp(8), 8, syntax="JPEGBaseline8Bit", frame=frame)
    with pytest.raises(UserError, match="Image size"):
        read_radiograph(path)


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "RLELossless"])
def test_damaged_files_are_refused_or_read(write_dicom, tmp_path, syntax):
    whole = write_dicom(ramp(12), 12, syntax=syntax, WindowCenter=2000, WindowWidth=1000)
    content = whole.read_bytes()
    generator = np.random.default_rng(0)
    damaged = tmp_path / "damaged.dcm"
    for trial in range(300):
        flipped = np.frombuffer(content, np.uint8).copy()
        places = generator.integers(132, len(flipped) if trial % 3 == 0 else 700, 3)
        flipped[places] = generator.integers(0, 256, 3)
        end = generator.integers(132, len(flipped)) if trial % 5 == 0 else None
        damaged.write_bytes(flipped[:end].tobytes())
        with suppress(UserError):
            assert read_radiograph(damaged).pixels.dtype == np.uint8


def test_says_which_extra_reads_dicom(write_dicom, monkeypatch):
    path = write_dicom(ramp(8), 8)
    monkeypatch.setitem(__import__("sys").modules, "pydicom.uid", None)
    with pytest.raises(UserError, match=r"pip install 'jaxcxr\[dicom\]'"):
        read_radiograph(path)


def test_jpeg_of_thousands_of_scans_inside_is_refused(write_dicom):
    stored = np.full((64, 64), 90, np.uint8)
    frame = encoded(stored, "JPEG", progressive=True)
    scan = frame[frame.rindex(b"\xff\xda") : -2]
    frame = frame[:-2] + 3000 * scan + frame[-2:]
    path = write_dicom(stored, 8, syntax="JPEGBaseline8Bit", frame=frame)
    with pytest.raises(UserError, match="scans; at most 40"):
        read_radiograph(path)


def test_colors_in_a_file_of_one_sample_are_refused(write_dicom):
    path = write_dicom(np.zeros((40, 50, 3), np.uint8), 8, "RGB")
    dataset = pydicom.dcmread(path)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.save_as(path)
    with pytest.raises(UserError, match=r"shape \(40, 50, 3\) in a file of MONOCHROME2"):
        read_radiograph(path)


@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian"])
def test_zeros_in_place_of_elements_are_refused(write_dicom, syntax):
    """As a lost disk block leaves them; eight of them make an element."""
    path = write_dicom(ramp(8), 8, syntax=syntax)
    content = path.read_bytes()
    zeros = bytes(8 * 20_000)
    if syntax == "ExplicitVRLittleEndian":
        path.write_bytes(content[: content.index(b"\x28\0\x02\0")] + zeros)
    else:
        end = 144 + int.from_bytes(content[140:144], "little")
        path.write_bytes(content[:end] + raw_deflate(zeros))
    with pytest.raises(UserError, match="more than 10,000 elements"):
        read_radiograph(path)


def test_zeros_behind_the_file_meta_are_refused_at_once(write_dicom):
    """pydicom takes them for elements of a command and reads all 2,500,000."""
    path = write_dicom(ramp(8), 8)
    content = path.read_bytes()
    end = 144 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[:end] + bytes(20_000_000))
    began = time.process_time()
    with pytest.raises(UserError, match="more than 10,000 elements"):
        read_radiograph(path)
    assert time.process_time() - began < 1


def raw_deflate(data):
    compress = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()
