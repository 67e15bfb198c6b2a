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
from pydicom.encaps import encapsulate

from tests.torture.fuzzing.damage import Rng, any_damage, pick
from tests.torture.fuzzing.images import (
    Wrong,
    encoded,
    equals,
    is_gray,
    many_scans,
    noise,
    read,
    smooth,
    zeros,
)
from tests.torture.fuzzing.trial import Trial

SYNTAXES = (
    "ExplicitVRLittleEndian",
    "ImplicitVRLittleEndian",
    "ExplicitVRBigEndian",
    "RLELossless",
    "DeflatedExplicitVRLittleEndian",
)


def trial(
    folder: Path, kind: str, content: bytes, wrong: Wrong | None, must_accept: bool = False
) -> Trial:
    """Writes a DICOM file to be read."""
    path = folder / "IM0001"
    path.write_bytes(content)
    return Trial(f"DICOM, {kind}", functools.partial(read, path), wrong, must_accept, path.name)


def saved(dataset: pydicom.Dataset) -> bytes:
    """Returns the file of a dataset."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


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
        dataset.compress(
            pydicom.uid.RLELossless, generate_instance_uid=False, encoding_plugin="pydicom"
        )
    elif frame is not None:
        dataset.PixelData = encapsulate([frame])
    elif syntax == "ExplicitVRBigEndian" and stored.itemsize == 2:
        dataset.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return saved(dataset)


def a_dicom(rng: Rng) -> tuple[bytes, np.ndarray]:
    """Returns a DICOM file of some depth, sign, syntax and window, and the pixels to be shown."""
    gray = noise(rng, high=80)
    bits = int(pick(rng, (8, 10, 12, 16)))
    signed = bits > 8 and rng.random() < 0.3
    levels = np.rint(gray.astype(float) * (2**bits - 1) / 255) - (2 ** (bits - 1) if signed else 0)
    stored = levels.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    slope, intercept = pick(rng, ((1, 0), (2, -100)))
    elements: dict[str, Any] = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    if rng.random() < 0.4:  # a window that shows everything
        low, high = (slope * float(value) + intercept for value in (stored.min(), stored.max()))
        elements |= {"WindowCenter": (low + high + 1) / 2, "WindowWidth": high - low + 1}
    photometric = pick(rng, ("MONOCHROME1", "MONOCHROME2"))
    content = encode_dicom(stored, bits, photometric, pick(rng, SYNTAXES), **elements)
    return content, 255 - gray if photometric == "MONOCHROME1" else gray


def complete(rng: Rng, folder: Path) -> Trial:
    if rng.random() < 0.2:
        gray = smooth(rng)
        frame = encoded(gray, "JPEG", quality=95)
        content = encode_dicom(gray, 8, syntax="JPEGBaseline8Bit", frame=frame)
        return trial(folder, "JPEG inside", content, equals(gray, 12), True)
    content, gray = a_dicom(rng)
    return trial(folder, "complete", content, equals(gray, 1), True)


def cut(rng: Rng, folder: Path) -> Trial:
    """What is accepted shows all that the complete file shows; padding may be gone."""
    content, gray = a_dicom(rng)
    return trial(folder, "cut", content[: rng.integers(0, len(content))], equals(gray, 1))


def damaged(rng: Rng, folder: Path) -> Trial:
    """DICOM has no checksums: only the form of what is accepted is known."""
    content, _ = a_dicom(rng)
    if rng.random() < 0.5:
        way, content = any_damage(rng, content)
        return trial(folder, way, content, is_gray)
    way, head = any_damage(rng, content[132:732])  # they say how all else is read
    return trial(folder, f"header {way}", content[:132] + head + content[732:], is_gray)


VALUES: dict[str, tuple[Any, ...]] = {
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


def edited(rng: Rng, folder: Path) -> Trial:
    """Elements and lookup tables that contradict the pixels, each other or themselves."""
    dataset = pydicom.dcmread(BytesIO(a_dicom(rng)[0]))
    for keyword in rng.choice(list(VALUES), rng.integers(1, 4), replace=False):
        if rng.random() < 0.2 and keyword in dataset:
            delattr(dataset, keyword)
        elif keyword.startswith("PixelPadding"):
            dataset.add_new(keyword, "US", pick(rng, VALUES[keyword]))
        else:
            setattr(dataset, keyword, pick(rng, VALUES[keyword]))
    if rng.random() < 0.2:
        item = pydicom.Dataset()
        descriptor = [pick(rng, (0, 1, 256, 65535)), int(rng.integers(0, 65535)), 16]
        item.add_new("LUTDescriptor", "US", descriptor)
        item.add_new("LUTData", "OW", rng.bytes(2 * pick(rng, (0, 1, 200, 256, 5000))))
        setattr(dataset, pick(rng, ("VOILUTSequence", "ModalityLUTSequence")), [item])
    if dataset.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in dataset:
        dataset.PixelData = encapsulate([dataset.PixelData or b"\0\0"])
    return trial(folder, "elements edited", saved(dataset), is_gray)


def without_pixels(rng: Rng, folder: Path) -> Trial:
    """DICOM files of other kinds, what only begins as one, and what never ends."""
    gray = smooth(rng)
    other = pydicom.dcmread(BytesIO(encode_dicom(gray, 8)))
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(other, keyword)
    deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    start = encode_dicom(gray, 8)
    start = start[: start.index(b"\x08\x00\x16\x00")]
    contents = (
        saved(other),
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + rng.bytes(500),
        start,
        start + deep * 20_000,
        start + bytes(2 * 10**7),
        start + b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\x7f" + bytes(500),
    )
    return trial(folder, "no pixels", pick(rng, contents), None)


def bomb(rng: Rng, folder: Path) -> Trial:
    """A deflated file, and JPEGs inside, that grow."""
    gray = smooth(rng)
    choice = rng.integers(0, 3)
    if choice == 0:
        complete_file = encode_dicom(gray, 8)
        start = encode_dicom(gray, 8, syntax="DeflatedExplicitVRLittleEndian")
        start = start[: 144 + int.from_bytes(start[140:144], "little")]
        inflated = complete_file[complete_file.index(b"\x08\x00\x16\x00") :]
        deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        head = deflate.compress(inflated[:-8] + b"\xff\xff\xff\x7f")
        content = start + head + deflate.compress(bytes(500 * 10**6)) + deflate.flush()
        return trial(folder, "decompression bomb", content, None)
    frame, side = ((many_scans(), 6000), (zeros(1), 60_000))[choice - 1]
    content = encode_dicom(gray, 8, syntax="JPEGBaseline8Bit", frame=frame)
    dataset = pydicom.dcmread(BytesIO(content))
    dataset.Rows = dataset.Columns = side
    return trial(folder, "decompression bomb", saved(dataset), None)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    complete: 13,
    cut: 12,
    damaged: 40,
    edited: 20,
    without_pixels: 4,
    bomb: 0.5,
}
"""How each kind of input is made, and how often."""
