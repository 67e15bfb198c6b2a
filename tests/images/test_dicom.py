"""DICOM files of the kinds that X-ray departments send, against the standard's formulas."""

import base64
import gzip
import time
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.images import dicom
from jaxcxr.images.radiograph import read_radiograph
from jaxcxr.images.search import find_radiographs
from tests.dicom_files import deep_dicom, dicom_bytes, encoded, jpeg_lossless

pydicom = pytest.importorskip("pydicom")
from pydicom.filewriter import dcmwrite, write_file_meta_info  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing  # noqa: E402


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


@pytest.mark.parametrize("slope", [-1, 0.5])
def test_rescaled_values_without_a_window_fill_the_range(write_dicom, slope):
    stored = ramp(12)
    path = write_dicom(stored, 12, RescaleSlope=slope, RescaleIntercept=-7)
    expected = eight_bit((stored if slope > 0 else 4095 - stored) / 4095)
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)


def test_plain_8_bit_values_stay(write_dicom):
    stored = ramp(8) // 2 + 20
    plain = read_radiograph(write_dicom(stored, 8))
    np.testing.assert_array_equal(plain.pixels, stored)
    inverted = read_radiograph(write_dicom(stored, 8, "MONOCHROME1"))
    np.testing.assert_array_equal(inverted.pixels, 255 - stored)
    rescaled = write_dicom(stored, 8, RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_array_equal(read_radiograph(rescaled).pixels, stored)


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


def test_16_bit_colors_without_upper_bits_are_refused():
    colors = np.random.default_rng(0).integers(0, 2**12, (40, 50, 3), np.uint16)
    with pytest.raises(UserError, match="upper bits are unused"):
        read_radiograph("a.dcm", dicom_bytes(colors, 16, "RGB"))


def test_values_in_the_upper_bits_are_refused():
    low = ramp(12)
    elements = {"BitsStored": 12, "HighBit": 15}
    found = read_radiograph("a.dcm", dicom_bytes(low, 16, **elements)).pixels
    np.testing.assert_array_equal(found, eight_bit(low / 4095))
    signed = ramp(12, signed=True)
    found = read_radiograph("a.dcm", dicom_bytes(signed, 16, **elements)).pixels
    np.testing.assert_array_equal(found, eight_bit(low / 4095))
    with pytest.raises(UserError, match=r"HighBit .* is 15 for 12 bits stored"):
        read_radiograph("a.dcm", dicom_bytes(low << 4, 16, **elements))


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
    assert abs(found.astype(int) - expected).max() <= 1
    assert not found[stored != picture].any()


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 20000, "WindowWidth": 400},
        {"WindowCenter": -20000, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 1, "WindowWidth": 0},
        {"WindowCenter": 1, "WindowWidth": -9},
        {"WindowCenter": 2000, "WindowWidth": 1e6},
        {"VOILUTSequence": "far"},
        {"VOILUTSequence": "constant"},
    ],
)
@pytest.mark.parametrize("marker", [None, 65535])
def test_window_or_lut_that_leaves_nothing_is_ignored_with_a_note(elements, marker):
    if "VOILUTSequence" in elements:
        first, entries = (
            (60000, np.arange(4096)) if elements["VOILUTSequence"] == "far" else (0, np.full(9, 7))
        )
        elements = {"VOILUTSequence": [lut_item(first, entries, 12)]}
    stored = ramp(12)
    if marker:
        stored[0, 0] = marker
        if elements.get("WindowCenter") != 20000:
            return
    content = dicom_bytes(stored, 16, **elements)
    radiograph = read_radiograph("a.dcm", content)
    note = radiograph.notes[0]
    assert "leaves nothing" in note
    assert str(elements.get("WindowCenter", "VOI LUT")) in note
    assert len(radiograph.notes) == (2 if marker else 1)
    expected = eight_bit(ramp(12) / 4095)
    assert abs(radiograph.pixels.astype(int) - expected).ravel()[1:].max() <= 1


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
    stored = ramp(12)
    dataset = pydicom.dcmread(BytesIO(dicom_bytes(stored, 12, WindowCenter=9, WindowWidth=0)))
    is_big = syntax == "BigEndian"
    if is_big:
        dataset.PixelData = stored.byteswap().tobytes()
    del dataset.file_meta
    dataset.preamble = None
    buffer = BytesIO()
    dcmwrite(
        buffer,
        dataset,
        implicit_vr=syntax == "Implicit",
        little_endian=not is_big,
        enforce_file_format=False,
        force_encoding=True,
    )
    meta = BytesIO()
    head = pydicom.dataset.FileMetaDataset()
    head.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    write_file_meta_info(meta, head, enforce_standard=False)
    before = {
        "": b"",
        "DICM": b"DICM",
        "zeros": bytes(128),
        "meta": meta.getvalue(),
        "preamble and meta": bytes(128) + b"DICM" + meta.getvalue(),
    }[start]
    path = tmp_path / "IM0001"
    path.write_bytes(before + buffer.getvalue())
    assert find_radiographs([tmp_path]) == [path]
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, eight_bit(stored / 4095))
    path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_radiograph(path).pixels, radiograph.pixels)


def test_compressed_pixels_without_a_transfer_syntax_are_refused():
    content = dicom_bytes(ramp(8), 8, syntax="RLELossless")
    uid = pydicom.uid.RLELossless.encode()
    place = content.index(b"\x02\0\x10\0UI")
    end = place + 8 + len(uid) + len(uid) % 2
    length = int.from_bytes(content[140:144], "little") - (end - place)
    content = content[:140] + length.to_bytes(4, "little") + content[144:place] + content[end:]
    with pytest.raises(UserError, match=r"Transfer Syntax UID \(0002,0010\)"):
        read_radiograph("a.dcm", content)


def test_gzip_bomb_is_refused():
    with pytest.raises(UserError, match="decompresses to more than"):
        read_radiograph("a.dcm.gz", gzip.compress(bytes(dicom.MAX_INFLATED + 1), 1))


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ({"ViewPosition": "LL"}, ["ViewPosition (0018,5101) is LL"]),
        ({"ViewPosition": "RL"}, ["ViewPosition (0018,5101) is RL"]),
        ({"ViewPosition": "LATERAL"}, ["ViewPosition (0018,5101) is LATERAL"]),
        ({"ViewPosition": "PA"}, []),
        ({"ViewPosition": "AP SUPINE"}, []),
        ({"BodyPartExamined": "HAND"}, ["BodyPartExamined (0018,0015) is HAND"]),
        ({"BodyPartExamined": "THORAX"}, []),
        ({"BodyPartExamined": "PORT CHEST"}, []),
        ({"Modality": "CT"}, ["Modality (0008,0060) is CT"]),
        ({"Modality": "CR"}, []),
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
    assert len(notes) == len(named)
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


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg_is_exact(bits, predictor):
    pytest.importorskip("libjpeg")
    stored = np.random.default_rng(bits).integers(0, 2**bits, (40, 50), f"u{1 if bits == 8 else 2}")
    frame = jpeg_lossless(stored, bits, predictor=predictor)
    syntax = "JPEGLosslessSV1" if predictor == 1 else "JPEGLossless"
    content = dicom_bytes(stored, bits, syntax=syntax, frame=frame)
    plain = dicom_bytes(stored, bits)
    np.testing.assert_array_equal(
        read_radiograph("a", content).pixels, read_radiograph("a", plain).pixels
    )


JPEG_LS = (
    "|JeWc01FHNAOIi%0TBTI+5iXv0RR910FNh?x#e!PS*%s+)mo)arBSF;>D1a~E|p27QRviKB@Tr_{{8dUj@>zMT(MGw$"
    "q^v?&bZ@kw9_oI!w=uE!t1WO%Pg|aYg*Q|t!o&@F^pp$K4Tcgt!rA=wXJGWl%*+3Qkj{ay=G=+WmQ#GRaI40RaI40c="
    "1(LRaLZ-NhFd<B$9URB$7!bRaI40S5B2xRbT&qmoNW+|9%`l|9}5iF8_c3e^|5sfB$__um6AlbqYWKfB#b^|9}5~NR$"
    "76|9uiK|9}5<2tWUS|9<=bfB%2aKmULKdh7px|9_4@|9}5@<NtsEe{H}2fB$yd|9}5~O+WvC|8&#;fB%0hzyE*#a?AgJ"
    "|9>pM|9}5*!~cK(e+)nWfB$g**#"
)
"""A frame that CharLS (pyjpegls 1.5.1) encoded, in base 85."""


def test_jpeg_ls_is_exact():
    pytest.importorskip("libjpeg")
    stored = np.add.outer(np.arange(32), 3 * np.arange(32)) * 31 % 4096
    frame = base64.b85decode(JPEG_LS)
    content = dicom_bytes(stored.astype(np.uint16), 12, syntax="JPEGLSLossless", frame=frame)
    found = read_radiograph("a", content).pixels
    expected = eight_bit((stored - stored.min()) / np.ptp(stored))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("syntax", ["JPEGLosslessSV1", "JPEGLSLossless", "HTJ2KLossless"])
def test_missing_decoder_is_named_with_what_to_install(syntax, monkeypatch):
    decoder = pydicom.pixels.get_decoder(getattr(pydicom.uid, syntax))
    monkeypatch.setattr(decoder, "_available", {})
    content = dicom_bytes(ramp(8), 8, syntax=syntax, frame=b"\xff\xd8\xff\xd9")
    with pytest.raises(UserError, match=r"no decoder is installed; pip install 'jaxcxr\[dicom\]'"):
        read_radiograph("a.dcm", content)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": 65535, "Columns": 65535}, "65535×65535 pixels; at most"),
        ({"Rows": 1, "Columns": 1}, "1×1 pixels; a radiograph has at least 32×32"),
        ({"Rows": 400}, "damaged or not supported"),
        ({"RescaleSlope": "1e308"}, "not usable numbers"),
        ({"VOILUTSequence": [short_lut()]}, "table of 9 entries, whose descriptor says 10"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}, "have the padding value"),
        ({"PixelPaddingValue": 1, "PixelPaddingRangeLimit": 4095}, "have the gray value 0"),
    ],
)
def test_refuses(elements, message):
    with pytest.raises(UserError, match=message) as caught:
        read_radiograph("a.dcm", dicom_bytes(ramp(12), 12, **elements))
    assert str(caught.value).startswith("a.dcm: ")
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


def test_refuses_a_bomb_inside_a_small_image(write_dicom):
    frame = encoded(np.zeros((10_000, 10_000), np.uint8), "JPEG")
    path = write_dicom(ramp(8), 8, syntax="JPEGBaseline8Bit", frame=frame)
    with pytest.raises(UserError, match="compressed pixels of 10000×10000"):
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
