"""DICOM files, for the reader of new radiographs."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate

from jaxcxr.images.radiograph import read_radiograph
from tests.torture.fuzzing import damage
from tests.torture.fuzzing.image_files import encode, noise, smooth
from tests.torture.fuzzing.images import equals, is_gray, many_scans, zeros
from tests.torture.fuzzing.trial import Trial

Rng = np.random.Generator

SYNTAXES = (
    "ExplicitVRLittleEndian",
    "ImplicitVRLittleEndian",
    "ExplicitVRBigEndian",
    "RLELossless",
    "DeflatedExplicitVRLittleEndian",
)


def read(path: Path) -> np.ndarray:
    """Reads as launch/predict.py does."""
    return read_radiograph(path).pixels


def trial(
    folder: Path,
    kind: str,
    content: bytes,
    wrong: Callable[[np.ndarray], str | None] | None = None,
    must_accept: bool = False,
) -> Trial:
    """Writes a DICOM file to be read."""
    path = folder / "IM0001"
    path.write_bytes(content)
    return Trial(f"DICOM, {kind}", functools.partial(read, path), wrong, must_accept, path.name)


def encode_dicom(
    stored: np.ndarray,
    bits: int,
    photometric: str = "MONOCHROME2",
    syntax: str = "ExplicitVRLittleEndian",
    frame: bytes | None = None,
    **elements: Any,
) -> bytes:
    """Returns a DICOM file of (H, W) integers, or of an encapsulated frame."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.3"
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.set_pixel_data(stored, photometric, bits, generate_instance_uid=False)
    if syntax == "RLELossless":
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    elif frame is not None:
        dataset.PixelData = encapsulate([frame])
    elif syntax == "ExplicitVRBigEndian" and stored.itemsize == 2:
        dataset.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def a_dicom(rng: Rng) -> tuple[bytes, np.ndarray]:
    """Returns a DICOM file of some depth, sign, syntax and window, and the pixels to be shown."""
    gray = noise(rng, high=80)
    bits = int(rng.choice((8, 10, 12, 16)))
    signed = bits > 8 and rng.random() < 0.3
    offset = 2 ** (bits - 1) if signed else 0
    stored = np.rint(gray.astype(float) * (2**bits - 1) / 255) - offset
    stored = stored.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    elements: dict[str, Any] = {}
    if rng.random() < 0.4:
        elements = {"RescaleSlope": 2, "RescaleIntercept": -100}
    low, high = (float(value) for value in (stored.min(), stored.max()))
    if rng.random() < 0.4:  # a window that shows everything
        slope, intercept = elements.get("RescaleSlope", 1), elements.get("RescaleIntercept", 0)
        low, high = slope * low + intercept, slope * high + intercept
        elements |= {"WindowCenter": (low + high + 1) / 2, "WindowWidth": high - low + 1}
    photometric = ("MONOCHROME1", "MONOCHROME2")[rng.integers(0, 2)]
    syntax = SYNTAXES[rng.integers(0, len(SYNTAXES))]
    content = encode_dicom(stored, bits, photometric, syntax, **elements)
    return content, 255 - gray if photometric == "MONOCHROME1" else gray


def sound(rng: Rng, folder: Path) -> Trial:
    content, gray = a_dicom(rng)
    return trial(folder, "whole", content, equals(gray, 1), must_accept=True)


def sound_jpeg(rng: Rng, folder: Path) -> Trial:
    gray = smooth(rng)
    frame = encode(Image.fromarray(gray), "JPEG", quality=95)
    content = encode_dicom(gray, 8, syntax="JPEGBaseline8Bit", frame=frame)
    return trial(folder, "JPEG inside", content, equals(gray, 12), must_accept=True)


def cut(rng: Rng, folder: Path) -> Trial:
    """What is accepted shows all that the whole file shows; padding may be gone."""
    content, gray = a_dicom(rng)
    return trial(folder, "truncated", damage.truncated(rng, content), equals(gray, 1))


def damaged(rng: Rng, folder: Path) -> Trial:
    """DICOM has no checksums: only the form of what is accepted is known."""
    content, _ = a_dicom(rng)
    way, content = damage.any_way(rng, content)
    return trial(folder, way, content, is_gray)


def damaged_head(rng: Rng, folder: Path) -> Trial:
    """The first 600 bytes say how all else is read."""
    content, _ = a_dicom(rng)
    way, head = damage.any_way(rng, content[132:732])
    return trial(folder, f"header {way}", content[:132] + head + content[732:], is_gray)


VALUES: dict[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 31, 63, 65535),
    "Columns": (0, 1, 31, 63, 65535),
    "BitsAllocated": (0, 1, 4, 8, 16, 24, 32, 64, 65535),
    "BitsStored": (0, 1, 7, 17, 64, 65535),
    "HighBit": (0, 3, 31, 65535),
    "PixelRepresentation": (0, 1, 2, 65535),
    "SamplesPerPixel": (0, 2, 3, 4, 65535),
    "PlanarConfiguration": (0, 1, 2),
    "NumberOfFrames": ("0", "1", "2", "-1", "2147483647", ""),
    "PhotometricInterpretation": ("", "RGB", "YBR_FULL", "PALETTE COLOR", "ARGB", "MONOCHROME3"),
    "RescaleSlope": ("0", "-1", "1e300", "-1e308", "1e-300", ""),
    "RescaleIntercept": ("0", "1e308", "-1e300", ""),
    "WindowCenter": ("0", "1e308", "-1e308", "", ["1", "2"]),
    "WindowWidth": ("0", "-1", "1", "0.5", "1e308", "", ["1", "2"]),
    "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "LINEAR", "CUBIC", ""),
    "PixelData": (b"", b"\0", bytes(100), bytes(10**6)),
}


def edited(rng: Rng, folder: Path) -> Trial:
    """Elements with values that contradict the pixels or each other."""
    content, _ = a_dicom(rng)
    dataset = pydicom.dcmread(BytesIO(content))
    for keyword in rng.choice(list(VALUES), rng.integers(1, 4), replace=False):
        choices = VALUES[keyword]
        if rng.random() < 0.2 and keyword in dataset:
            delattr(dataset, keyword)
        else:
            value = choices[rng.integers(0, len(choices))]
            setattr(dataset, keyword, value)
    if dataset.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in dataset:
        dataset.PixelData = encapsulate([dataset.PixelData or b"\0\0"])
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return trial(folder, "elements edited", buffer.getvalue(), is_gray)


def lookup_table(rng: Rng, folder: Path) -> Trial:
    """Lookup tables whose descriptor and data disagree."""
    item = pydicom.Dataset()
    item.LUTDescriptor = [int(rng.choice((0, 1, 256, 65535))), int(rng.integers(0, 65535)), 16]
    data = rng.bytes(2 * int(rng.choice((0, 1, 200, 256, 5000))))
    item.add_new("LUTData", "OW", data)
    sequence = ("VOILUTSequence", "ModalityLUTSequence")[rng.integers(0, 2)]
    stored = noise(rng).astype(np.uint16)
    content = encode_dicom(stored, 12, **{sequence: [item]})
    return trial(folder, "lookup table", content, is_gray)


def no_radiograph(rng: Rng, folder: Path) -> Trial:
    """DICOM files of other kinds, and what only begins as one."""
    without = pydicom.dcmread(BytesIO(encode_dicom(noise(rng), 8)))
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(without, keyword)
    buffer = BytesIO()
    without.save_as(buffer, enforce_file_format=True)
    deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    start = encode_dicom(noise(rng), 8)
    start = start[: start.index(b"\x08\x00\x16\x00")]
    contents = (
        buffer.getvalue(),
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + rng.bytes(500),
        start,
        start + deep * 20_000,
        start + bytes(2 * 10**7),
        start + b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\x7f" + bytes(500),
    )
    return trial(folder, "no radiograph", contents[rng.integers(0, len(contents))])


def bomb(rng: Rng, folder: Path) -> Trial:
    """A deflated file, and JPEGs inside, that grow."""
    gray = smooth(rng)
    whole = encode_dicom(gray, 8)
    choice = rng.integers(0, 4)
    if choice == 0:
        start = encode_dicom(gray, 8, syntax="DeflatedExplicitVRLittleEndian")
        start = start[: 144 + int.from_bytes(start[140:144], "little")]
        inflated = whole[whole.index(b"\x08\x00\x16\x00") :]
        deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        head = deflate.compress(inflated[:-8] + b"\xff\xff\xff\x7f")
        content = start + head + deflate.compress(bytes(500 * 10**6)) + deflate.flush()
    elif choice == 1:
        frame = many_scans()
        content = encode_dicom(gray, 8, syntax="JPEGBaseline8Bit", frame=frame)
        content = with_size(content, 6000, 6000)
    elif choice == 2:
        frame = bytearray(encode(Image.fromarray(gray), "JPEG"))
        size = frame.index(b"\xff\xc0") + 5
        frame[size : size + 4] = b"\x75\x30\x75\x30"
        content = encode_dicom(gray, 8, syntax="JPEGBaseline8Bit", frame=bytes(frame))
    else:
        content = with_size(encode_dicom(gray, 8, frame=zeros(1)), 60_000, 60_000)
    return trial(folder, "decompression bomb", content)


def with_size(content: bytes, rows: int, columns: int) -> bytes:
    """Returns a DICOM file with another size in its header."""
    dataset = pydicom.dcmread(BytesIO(content))
    dataset.Rows, dataset.Columns = rows, columns
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    sound: 10,
    sound_jpeg: 3,
    cut: 12,
    damaged: 20,
    damaged_head: 20,
    edited: 16,
    lookup_table: 4,
    no_radiograph: 4,
    bomb: 0.5,
}
"""How each kind of input is made, and how often."""
