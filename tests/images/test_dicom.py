"""DICOM files of the kinds that X-ray departments send, against the standard's formulas.

The fuzz tests, `tests/torture/test_images.py`, read other encodings and damaged files.
"""

import base64
import gzip
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.images.radiograph import read_radiograph
from jaxcxr.images.search import find_radiographs
from tests.dicom_files import deep_dicom, dicom_bytes, encoded

pydicom = pytest.importorskip("pydicom")
from pydicom.filewriter import dcmwrite, write_file_meta_info  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing  # noqa: E402

FRAMES = {
    "JPEGLosslessSV1": "c-s4a<Npx`6$TIxWIzIpOw25-Z0sDIT--doeEb6c4>NG{Feor6Ffs}<{J+J(!N|zK$iR^NpJ"
    "Cq1cch@Y>gBsgKudp;Wcs`5&v%hzLHwxmN1Z?F{88tRI-exx@BV)i0G57Khy",
    "JPEGLSLossless": "c-s4a<NtRCZXN~&1_ee&L5Bag7&sUi8GxW)ed^Aqd0Qjbguc2OwbXBE;ELdvS8k>1P4!$7_~J^"
    "GDqpMPzrUZa_uaKDh}js_a#B#?_qiR9bGKa9*>sry{)R)Z*X=s3v*}!R)U~Z^vn7rh_9V;OB}*J#3l_)<nzB^WD`@7-"
    "d3)2+(o#bapyDHl+%m~i1%%4p0x4CHNVwnB(9rn*_0#qL*Z;4Ru?LdjdO)H+Vl$Ae4O$N*OSwS8!D=93kI5imA&}}44"
    "v=u&Z;<eL5VPtvh}j2XRy+nVbN2(uvfCi0FG#fHGKi@I5-mCnXBHd=F?m1=3jW^&0IpK2)&",
}
"""Compressed pixels of `PATTERN`, themselves deflated and in base 85: of a small encoder of ITU-T
T.81, annex H, and of CharLS (pyjpegls 1.5.1)."""

PATTERN = (np.add.outer(np.arange(32), 3 * np.arange(32)) * 31 % 4096).astype(np.uint16)


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


def read(*arguments, **elements):
    """Returns the pixels that are read from a file of `dicom_bytes`."""
    return read_radiograph("a.dcm", dicom_bytes(*arguments, **elements)).pixels


def assert_close(found, expected, atol=1):
    assert abs(found.astype(int) - expected).max() <= atol


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_values_without_a_window_fill_the_range(bits, photometric):
    stored = ramp(bits)
    content = dicom_bytes(stored, bits, photometric, WindowCenter=None)
    radiograph = read_radiograph("IM000001", content)
    assert (radiograph.format, radiograph.width, radiograph.height) == ("DICOM", 50, 40)
    assert radiograph.pixels.dtype == np.uint8
    expected = eight_bit(stored / (2**bits - 1))
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_array_equal(radiograph.pixels, expected)


@pytest.mark.parametrize("slope", [-1, 0.5])
def test_rescaled_values_without_a_window_fill_the_range(slope):
    stored = ramp(12)
    expected = eight_bit((stored if slope > 0 else 4095 - stored) / 4095)
    pixels = read(stored, 12, RescaleSlope=slope, RescaleIntercept=-7)
    np.testing.assert_array_equal(pixels, expected)


def test_plain_8_bit_values_stay():
    stored = ramp(8) // 2 + 20
    np.testing.assert_array_equal(read(stored, 8), stored)
    np.testing.assert_array_equal(read(stored, 8, "MONOCHROME1"), 255 - stored)
    rescaled = read(stored, 8, RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_array_equal(rescaled, stored)


@settings(max_examples=150, deadline=None)
@given(
    bits=st.sampled_from([8, 10, 12, 16]),
    signed=st.booleans(),
    inverted=st.booleans(),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    slope=st.sampled_from([1, 2.5, -1]),
    intercept=st.sampled_from([0, -1024, 4095]),
    center=st.floats(0.2, 0.8),
    width=st.floats(0.1, 2),
    several=st.booleans(),
)
def test_window_matches_pydicom(
    bits, signed, inverted, function, slope, intercept, center, width, several
):
    stored = ramp(bits, signed=signed)
    rescaled = slope * stored.astype(float) + intercept
    span = rescaled.max() - rescaled.min()
    center, width = rescaled.min() + center * span, max(width * span, 2)
    elements = {
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
        "WindowCenter": [f"{center:.8g}", "5"] if several else f"{center:.8g}",
        "WindowWidth": [f"{width:.8g}", "7"] if several else f"{width:.8g}",
        "VOILUTFunction": function,
    }
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    content = dicom_bytes(stored, bits, photometric, **elements)
    dataset = pydicom.dcmread(BytesIO(content))
    expected = apply_windowing(apply_modality_lut(stored, dataset), dataset)
    with np.errstate(over="ignore"):
        black, white = apply_windowing(np.array([-1e300, 1e300]), dataset)
    expected = (expected - black) / (white - black)
    found = read_radiograph("a.dcm", content).pixels
    assert abs(found - 255 * (1 - expected if inverted else expected)).max() <= 1


def test_window_of_width_1_is_black_and_white():
    stored = ramp(12, signed=False)
    elements = {"WindowCenter": "1500", "WindowWidth": "1"}
    found = read_radiograph("a.dcm", dicom_bytes(stored, 12, **elements)).pixels
    np.testing.assert_array_equal(found, np.where(stored > 1499.5, 255, 0))


def lut_item(first, entries, depth, *, packed=False, vr="US"):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries), first, depth])
    item.add_new("LUTData", "OW", entries.astype("u1" if packed else "<u2").tobytes())
    return item


def short_lut():
    item = lut_item(0, np.arange(9), 12)
    item.LUTDescriptor = [10, 0, 12]
    return item


@settings(max_examples=60, deadline=None)
@given(
    depth=st.integers(8, 16),
    first=st.integers(-3000, 3000),
    count=st.integers(2, 5000),
    keyword=st.sampled_from(["VOILUTSequence", "ModalityLUTSequence"]),
    seed=st.integers(0, 99),
)
def test_lookup_table_matches_pydicom(depth, first, count, keyword, seed):
    stored = ramp(12, signed=True)
    entries = np.random.default_rng(seed).integers(0, 2**depth, count)
    entries[:2] = 0, 2**depth - 1
    vr = "SS" if first < 0 else "US"
    item = lut_item(first, entries, 16, vr=vr)  # pydicom knows only 8 and 16 bits
    content = dicom_bytes(stored, 12, **{keyword: [item]})
    dataset = pydicom.dcmread(BytesIO(content))
    if keyword == "VOILUTSequence":
        gray = 255 * apply_voi(stored, dataset).astype(float)
        content = dicom_bytes(stored, 12, VOILUTSequence=[lut_item(first, entries, depth, vr=vr)])
        gray /= 2**depth - 1
    else:
        values = apply_modality_lut(stored, dataset).astype(float)
        gray = 255 * (values - values.min()) / max(np.ptp(values), 1)
    radiograph = read_radiograph("a.dcm", content) if np.ptp(gray[2:-2]) > 9 else None
    if radiograph is not None and not radiograph.notes:  # a table of few pixels is ignored
        assert abs(radiograph.pixels - gray).max() <= 0.51


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "ImplicitVRLittleEndian"])
@pytest.mark.parametrize("source", ["signed pixels", "intercept", "high values"])
def test_first_value_of_a_voi_lut_has_the_sign_of_the_values(vr, syntax, source):
    stored, bits, first, elements = ramp(12), 13, -1500, {}
    if source == "signed pixels":
        stored = ramp(12).astype(np.int16) - 1500
    elif source == "intercept":
        elements = {"RescaleSlope": 1, "RescaleIntercept": -1500}
    else:
        stored, bits, first = ramp(12) + 60000, 16, 60000 - 2**16
    entries = np.rint(3000 * np.linspace(0, 1, 4096) ** 2).astype(int)  # not all of 12 bits
    item = lut_item(first if vr == "SS" else first % 2**16, entries, 12, vr=vr)
    content = dicom_bytes(stored, bits, syntax=syntax, VOILUTSequence=[item], **elements)
    radiograph = read_radiograph("a", content)
    assert not radiograph.notes
    np.testing.assert_array_equal(radiograph.pixels, eight_bit(entries[ramp(12)] / 4095))


@pytest.mark.parametrize(("depth", "packed"), [(8, False), (8, True), (12, False), (16, False)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_voi_lut_comes_before_the_window(depth, packed, photometric):
    stored = ramp(12)
    entries = np.rint((2**depth - 1) * np.linspace(0, 1, 2048) ** 2)
    luts = [lut_item(1000, entries, depth, packed=packed)]
    elements = {"VOILUTSequence": luts, "WindowCenter": 100, "WindowWidth": 10}
    looked_up = entries[np.clip(stored.astype(int) - 1000, 0, 2047)]
    expected = eight_bit(looked_up / (2**depth - 1))
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_array_equal(read(stored, 12, photometric, **elements), expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_and_jpeg_2000(bits):
    stored = ramp(bits)
    frame = encoded(stored, "JPEG2000", irreversible=False, no_jp2=True)
    pixels = read(stored, bits, syntax="JPEG2000Lossless", frame=frame)
    np.testing.assert_array_equal(pixels, eight_bit(stored / (2**bits - 1)))
    if bits == 8:
        frame = encoded(stored, "JPEG", quality=98)
        assert_close(read(stored, 8, syntax="JPEGBaseline8Bit", frame=frame), stored, 3)


@pytest.mark.parametrize("syntax", FRAMES)
def test_lossless_jpeg_and_jpeg_ls_are_exact(syntax):
    pytest.importorskip("libjpeg")
    frame = zlib.decompress(base64.b85decode(FRAMES[syntax]))
    pixels = read(PATTERN, 12, syntax=syntax, frame=frame)
    np.testing.assert_array_equal(pixels, eight_bit(PATTERN / PATTERN.max()))


@pytest.mark.parametrize("syntax", ["JPEGBaseline8Bit", "JPEG2000Lossless", *FRAMES])
def test_compressed_pixels_of_another_shape_are_refused(syntax):
    if syntax in FRAMES:
        pytest.importorskip("libjpeg")
        frame, size = zlib.decompress(base64.b85decode(FRAMES[syntax])), "32×32"
    else:  # as many pixels as the header has
        options = {"JPEG2000Lossless": {"format": "JPEG2000", "no_jp2": True}}
        frame = encoded(ramp(8, shape=(40, 60)), **options.get(syntax, {"format": "JPEG"}))
        size = "60×40"
    with pytest.raises(UserError, match=rf"^a\.dcm: .* {size}; expected 40×60.*export it again$"):
        read(ramp(8, shape=(60, 40)), 8, syntax=syntax, frame=frame)


@pytest.mark.parametrize("syntax", ["JPEGLosslessSV1", "JPEGLSLossless", "HTJ2KLossless"])
def test_missing_decoder_is_named_with_what_to_install(syntax, monkeypatch):
    decoder = pydicom.pixels.get_decoder(getattr(pydicom.uid, syntax))
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(UserError, match=r"no decoder is installed; pip install 'jaxcxr\[dicom\]'"):
        read(ramp(8), 8, syntax=syntax, frame=b"\xff\xd8\xff\xd9")


def test_missing_pydicom_is_named_with_what_to_install(monkeypatch):
    content = dicom_bytes(ramp(8), 8)
    monkeypatch.setitem(sys.modules, "pydicom.uid", None)
    with pytest.raises(UserError, match=r"pip install 'jaxcxr\[dicom\]'"):
        read_radiograph("a.dcm", content)


@pytest.mark.parametrize("bits", [8, 16])
def test_colors_become_luma(bits):
    colors = np.random.default_rng(0).integers(0, 2**bits, (40, 50, 3), f"u{bits // 8}")
    expected = np.array(Image.fromarray((colors >> (bits - 8)).astype(np.uint8)).convert("L"))
    np.testing.assert_array_equal(read(colors, bits, "RGB"), expected)
    if bits == 16:
        with pytest.raises(UserError, match="upper bits are unused"):
            read(colors >> 4, 16, "RGB")


def test_values_in_the_upper_bits_are_refused():
    low = ramp(12)
    elements = {"BitsStored": 12, "HighBit": 15}
    for stored in (low, ramp(12, signed=True)):
        np.testing.assert_array_equal(read(stored, 16, **elements), eight_bit(low / 4095))
    with pytest.raises(UserError, match=r"HighBit .* is 15 for 12 bits stored"):
        read(low << 4, 16, **elements)


def test_palette_becomes_luma():
    stored = ramp(8)
    data = (257 * np.arange(255, -1, -1)).astype("<u2").tobytes()
    luts = {
        f"{color}PaletteColorLookupTable{part}": value
        for color in ("Red", "Green", "Blue")
        for part, value in [("Descriptor", [256, 0, 16]), ("Data", data)]
    }
    pixels = read(stored, 8, PhotometricInterpretation="PALETTE COLOR", **luts)
    np.testing.assert_array_equal(pixels, 255 - stored)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize(
    ("signed", "value", "limit", "written"),
    [
        (False, 65535, None, {}),
        (True, -32768, None, {}),
        (True, -32768, None, {"value": 32768, "vr": "US"}),
        (False, 65535, None, {"value": -1, "vr": "SS"}),
        (False, 60000, 65535, {}),
        (False, 65535, 60000, {}),
        (True, -30000, -32768, {}),
        (False, 4095 + 4096, None, {"bits": 12}),
    ],
)
def test_padding_is_black_and_does_not_count(photometric, windowed, signed, value, limit, written):
    picture = ramp(12).astype(np.int16 if signed else np.uint16) - 2048 * signed
    stored = picture.copy()
    stored[:, :6], stored[:, -6:] = value, value if limit is None else limit
    if limit is not None:
        stored[:3] = (value + limit) // 2
    elements = {"WindowCenter": 1000, "WindowWidth": 1500} if windowed else {}
    if limit is not None:
        elements["PixelPaddingRangeLimit"] = limit
    content = dicom_bytes(
        stored,
        16,
        photometric,
        padding=(written.get("value", value), written.get("vr", "SS" if signed else "US")),
        BitsStored=written.get("bits", 16),
        HighBit=written.get("bits", 16) - 1,
        **elements,
    )
    shown = picture[:, 6:-6] if limit is None else picture[3:, 6:-6]
    if windowed:
        expected = linear_window(picture.astype(float), 1000, 1500)
    else:
        expected = eight_bit((picture - float(shown.min())) / np.ptp(shown.astype(float)))
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    expected[stored != picture] = 0
    found = read_radiograph("a.dcm", content).pixels
    assert_close(found, expected)
    assert not found[stored != picture].any()


@pytest.mark.parametrize(
    ("elements", "name"),
    [
        ({"WindowCenter": 20000, "WindowWidth": 400}, "20000"),
        ({"WindowCenter": -20000, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}, "-20000"),
        ({"WindowCenter": 1, "WindowWidth": 0}, "width 0"),
        ({"WindowCenter": 1, "WindowWidth": -9}, "width -9"),
        ({"WindowCenter": 2000, "WindowWidth": 1e6}, "2000"),
        ({"VOILUTSequence": [lut_item(60000, np.arange(4096), 12)]}, "VOI LUT"),
        ({"VOILUTSequence": [lut_item(0, np.full(9, 7), 12)]}, "VOI LUT"),
    ],
)
def test_window_or_lut_that_leaves_nothing_is_ignored_with_a_note(elements, name):
    stored, expected = ramp(12), eight_bit(ramp(12) / 4095)
    radiograph = read_radiograph("a.dcm", dicom_bytes(stored, 16, **elements))
    (note,) = radiograph.notes
    assert "leaves nothing" in note
    assert name in note
    assert_close(radiograph.pixels, expected)
    if name == "20000":
        stored[0, 0] = 65535  # a marker
        radiograph = read_radiograph("a.dcm", dicom_bytes(stored, 16, **elements))
        assert len(radiograph.notes) == 2
        assert_close(radiograph.pixels[1:], expected[1:])


@pytest.mark.parametrize(
    ("keyword", "dtype", "scale"),
    [
        ("PixelData", "<u4", 2**20),
        ("PixelData", "<i4", -(2**19)),
        ("FloatPixelData", "<f4", 1 / 4095),
        ("DoubleFloatPixelData", "<f8", 1e9),
    ],
)
@pytest.mark.parametrize("how", ["plain", "window", "padding"])
def test_deep_pixels(keyword, dtype, scale, how):
    picture = ramp(12).astype(float)
    stored = (picture * scale).astype(dtype)
    elements = {}
    if how == "window":
        elements = {"WindowCenter": 2000 * scale, "WindowWidth": abs(1000 * scale)}
    if how == "padding" and keyword != "PixelData":
        stored[:5] = -5e9
        elements = {keyword.replace("Data", "PaddingValue"): float(stored[0, 0])}
        picture = np.where(stored == stored[0, 0], 0, picture - picture[5, 0])
    content = deep_dicom(keyword, stored, **elements)
    expected = eight_bit((stored - 2000.0 * scale) / abs(1000 * scale) + 0.5)
    if how != "window":
        expected = eight_bit(np.maximum(picture, 0) / picture.max())
        expected = 255 - expected if scale < 0 else expected
    assert abs(read_radiograph("a.dcm", content).pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    stored = ramp(12).astype("<f4")
    stored[3, 3] = value
    with pytest.raises(UserError, match="not finite numbers"):
        read_radiograph("a.dcm", deep_dicom("FloatPixelData", stored))


@pytest.mark.parametrize("syntax", ["Explicit", "Implicit", "BigEndian"])
@pytest.mark.parametrize("start", ["", "DICM", "zeros", "meta", "preamble and meta"])
def test_incomplete_file_heads(tmp_path, syntax, start):
    stored, is_little = ramp(12), syntax != "BigEndian"
    dataset = pydicom.dcmread(BytesIO(dicom_bytes(stored, 12, WindowCenter=9, WindowWidth=0)))
    dataset.PixelData = (stored if is_little else stored.byteswap()).tobytes()
    del dataset.file_meta
    dataset.preamble = None
    body, meta = BytesIO(), BytesIO()
    encoding = {"implicit_vr": syntax == "Implicit", "little_endian": is_little}
    dcmwrite(body, dataset, force_encoding=True, **encoding)
    head = pydicom.dataset.FileMetaDataset()
    head.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    write_file_meta_info(meta, head, enforce_standard=False)
    parts = {
        "DICM": b"DICM",
        "zeros": bytes(128),
        "preamble": bytes(128) + b"DICM",
        "meta": meta.getvalue(),
    }
    content = b"".join(parts[part] for part in start.split(" and ") if part) + body.getvalue()
    path = tmp_path / "IM0001"
    path.write_bytes(content)
    assert find_radiographs([tmp_path]) == [path]
    for packed in (content, gzip.compress(content)):
        pixels = read_radiograph("a", packed).pixels
        np.testing.assert_array_equal(pixels, eight_bit(stored / 4095))


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ({"ViewPosition": "LL"}, ["ViewPosition (0018,5101) is LL"]),
        ({"ViewPosition": "LATERAL"}, ["ViewPosition (0018,5101) is LATERAL"]),
        ({"ViewPosition": "PA"}, []),
        ({"ViewPosition": "AP SUPINE"}, []),
        ({"BodyPartExamined": "HAND"}, ["BodyPartExamined (0018,0015) is HAND"]),
        ({"BodyPartExamined": "PORT CHEST"}, []),
        ({"Modality": "CT"}, ["Modality (0008,0060) is CT"]),
        ({"PresentationIntentType": "FOR PRESENTATION"}, []),
        ({"PresentationIntentType": "FOR PROCESSING"}, ["(0008,0068) is FOR PROCESSING"]),
        ({"Modality": "MG", "ViewPosition": "RLD"}, ["is MG", "is RLD"]),
        ({"ViewCodeSequence": "left lateral"}, ["ViewCodeSequence (0054,0220) is left lateral"]),
        ({"ViewCodeSequence": "postero-anterior"}, []),
    ],
)
def test_header_of_another_picture_gives_a_note(elements, named):
    if meaning := elements.get("ViewCodeSequence"):
        code = pydicom.Dataset()
        code.CodeMeaning = meaning
        elements = {"ViewCodeSequence": [code]}
    notes = read_radiograph("a.dcm", dicom_bytes(ramp(12), 12, **elements)).notes
    assert all(name in note for name, note in zip(named, notes, strict=True))


@pytest.mark.parametrize(
    ("photometric", "sign"), [("MONOCHROME1", None), ("MONOCHROME1", 1), ("MONOCHROME2", 1)]
)
@pytest.mark.parametrize("relationship", ["LIN", "LOG"])
def test_raw_values_are_shown_by_their_logarithm(photometric, sign, relationship):
    gray = ramp(8).astype(float)
    exposure = np.exp((255 - gray) / 255 * np.log(60000)).astype(np.uint16)
    if relationship == "LOG":
        exposure = (10 * (255 - gray)).astype(np.uint16)
    elements = {"PixelIntensityRelationship": relationship}
    elements |= {} if sign is None else {"PixelIntensityRelationshipSign": sign}
    content = dicom_bytes(
        exposure, 16, photometric, PresentationIntentType="FOR PROCESSING", **elements
    )
    found = read_radiograph("a.dcm", content).pixels
    assert np.corrcoef(found.ravel(), gray.ravel())[0, 1] > 0.99


def test_first_of_several_frames_is_used_with_a_note():
    content = dicom_bytes(ramp(12), 12)
    dataset = pydicom.dcmread(BytesIO(content))
    dataset.NumberOfFrames = 2
    dataset.PixelData = dataset.PixelData + bytes(len(dataset.PixelData))
    buffer = BytesIO()
    dataset.save_as(buffer)
    radiograph = read_radiograph("a.dcm", buffer.getvalue())
    assert radiograph.notes == ("NumberOfFrames (0028,0008) is 2; the first frame is used",)
    np.testing.assert_array_equal(radiograph.pixels, eight_bit(ramp(12) / 4095))


def damaged_in(fault):
    """Returns a file with a fault."""
    dataset = pydicom.dcmread(BytesIO(dicom_bytes(ramp(12), 12)))
    if fault == "no image":
        for keyword in ("Rows", "Columns", "PixelData"):
            del dataset[keyword]
    elif fault == "colors in a file of one sample":
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PixelData = 3 * dataset.PixelData
    elif fault == "no transfer syntax of compressed pixels":
        dataset.compress(pydicom.uid.RLELossless)
        buffer = BytesIO()
        del dataset.file_meta
        dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
        return buffer.getvalue()
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no image", "without an image"),
        ("colors in a file of one sample", r"shape \(40, 50, 3\) in a file of MONOCHROME2"),
        ("no transfer syntax of compressed pixels", r"Transfer Syntax UID \(0002,0010\)"),
        ({"Rows": 65535, "Columns": 65535}, "65535×65535 pixels; at most"),
        ({"Rows": 1, "Columns": 1}, "1×1 pixels; a radiograph has at least 32×32"),
        ({"Rows": 400}, "damaged or not supported"),
        ({"RescaleSlope": "1e308"}, "not usable numbers"),
        ({"VOILUTSequence": [short_lut()]}, "table of 9 entries, whose descriptor says 10"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}, "have the padding value"),
        ({"PixelPaddingValue": 1, "PixelPaddingRangeLimit": 4095}, "have the gray value 0"),
    ],
)
def test_refuses(fault, message):
    is_text = isinstance(fault, str)
    content = damaged_in(fault) if is_text else dicom_bytes(ramp(12), 12, **fault)
    with pytest.raises(UserError, match=message) as caught:
        read_radiograph("a.dcm", content)
    assert str(caught.value).startswith("a.dcm: ")
    assert "\n" not in str(caught.value)
