"""The pixels of DICOM files, brought to the screen as the standard says (PS3.4, N.2).

Stored values pass the modality LUT (or rescale slope and intercept), then the VOI LUT or window,
the first where there are several; last, MONOCHROME1 is inverted. Values that no VOI LUT and no
window limits are spread over 0..255, from the smallest to the greatest that occurs; plain 8-bit
values stay as they are. Colors become their luma.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.images.gray import distinct
from jaxcxr.images.jpeg import check_scans

Dataset = Any
"""pydicom's `Dataset`; pydicom is an extra, so that it is imported where a DICOM file is read."""

_ONE_SAMPLE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
"""Photometric interpretations of one value per pixel; the others have three."""

HEAD = 132
"""Bytes of preamble and "DICM", by which files are recognized."""

_MAX_ELEMENTS = 10_000
"""Elements that are read at most, those within sequences aside; radiographs have some 100."""

MAX_INFLATED = 160 * 1024**2
"""Bytes that a deflated file may grow to; beyond them it counts as cut off.

The most pixels that are read, 40 million of three colors, are 120 million bytes.
"""


def begins_as_dicom(head: bytes) -> bool:
    """Returns whether a file begins as DICOM does, given its first `HEAD` bytes or more."""
    return head[128:132] == b"DICM"


def read_pixels(
    content: bytes, check_size: Callable[[int, int], None]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads a DICOM file.

    Args:
        content: Its bytes.
        check_size: Called with width and height before the pixels are decompressed; raises
            UserError.

    Returns:
        (H, W) uint8, and notes about the file, each one line.

    Raises:
        UserError: pydicom is missing, the file holds no image, or its size is refused.
        Exception: pydicom raises exceptions of many classes for damaged files.
    """
    try:
        from pydicom.uid import JPEGTransferSyntaxes
    except ImportError as error:
        raise UserError("a DICOM file; to read it, pip install 'jaxcxr[dicom]'") from error
    with warnings.catch_warnings(action="ignore"):
        # The header may say 64×64 and the JPEG inside 30,000×30,000; Pillow only warns of it.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        dataset = _read(content)
        _check_header(dataset, check_size)
        if dataset.file_meta.TransferSyntaxUID in JPEGTransferSyntaxes:
            check_scans(dataset.PixelData)
        return _display(dataset), ()


def _read(content: bytes) -> Dataset:
    """Reads the elements; pydicom's own readers would inflate a deflated file without bounds."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    stream = BytesIO(content)
    stream.seek(HEAD)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = meta.TransferSyntaxUID
    if syntax == DeflatedExplicitVRLittleEndian:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        stream = BytesIO(inflate.decompress(content[stream.tell() :], MAX_INFLATED))
    dataset = read_dataset(
        stream, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_stop_if_endless()
    )
    dataset.file_meta = FileMetaDataset(meta)
    return dataset


def _stop_if_endless() -> Callable[[int, str | None, int], bool]:
    """Returns what pydicom calls before each element: zeros would be millions of elements."""
    count = 0

    def stop(tag: int, vr: str | None, length: int) -> bool:
        nonlocal count
        count += 1
        if count > _MAX_ELEMENTS:
            raise UserError(f"damaged, more than {_MAX_ELEMENTS:,} elements; copy it again")
        return False

    return stop


def _check_header(dataset: Dataset, check_size: Callable[[int, int], None]) -> None:
    if "Rows" not in dataset or "Columns" not in dataset:
        raise UserError("a DICOM file without an image; name the files that hold radiographs")
    check_size(dataset.Columns, dataset.Rows)
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise UserError(f"{frames} frames; expected a single image")
    if dataset.BitsAllocated > 16:
        raise UserError(f"{dataset.BitsAllocated} bits per value; at most 16 are read")


def _display(dataset: Dataset) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, pixel_array

    stored = pixel_array(dataset)
    photometric = dataset.PhotometricInterpretation
    samples = () if photometric in _ONE_SAMPLE else (3,)
    if stored.shape != (dataset.Rows, dataset.Columns, *samples):
        raise UserError(
            f"pixels of shape {stored.shape} in a file of {photometric}; export it again"
        )
    if photometric == "PALETTE COLOR":
        colors = apply_color_lut(stored, dataset)
        return _luma(colors, 8 * colors.itemsize)
    if photometric not in _ONE_SAMPLE:
        return _luma(stored, dataset.BitsStored)
    levels = distinct(stored)
    pixels = levels.draw(_brightness(levels.values, dataset))
    return 255 - pixels if photometric == "MONOCHROME1" else pixels


def stretch(levels: np.ndarray) -> np.ndarray:
    """Maps levels linearly to 0..1, the smallest to 0 and the greatest to 1, all to 0 if equal."""
    low, high = float(levels.min()), float(levels.max())
    return (levels - low) / (high - low if high > low else 1)


def _luma(colors: np.ndarray, bits: int) -> np.ndarray:
    shift = max(bits - 8, 0)
    return np.array(Image.fromarray((colors >> shift).astype(np.uint8), "RGB").convert("L"))


def _brightness(levels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Maps stored values (N,) to brightness in 0..1, before MONOCHROME1 is inverted."""
    from pydicom.pixels import apply_rescale, apply_windowing

    if modality := dataset.get("ModalityLUTSequence"):
        values = _through_lut(levels, *_read_lut(modality[0], dataset))
    else:
        values = apply_rescale(levels, dataset)
    if voi := dataset.get("VOILUTSequence"):
        first, entries = _read_lut(voi[0], dataset)
        return _through_lut(values, first, stretch(entries))
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        # pydicom's black and white depend on the file's other values; these are they.
        black, white = apply_windowing(np.array([-np.inf, np.inf]), dataset)
        return (apply_windowing(values, dataset) - black) / (white - black)
    is_plain = dataset.PixelRepresentation == 0 and np.array_equal(values, levels)
    return levels / 255 if dataset.BitsStored == 8 and is_plain else stretch(values)


def _read_lut(item: Dataset, dataset: Dataset) -> tuple[int, np.ndarray]:
    """Returns the value that a lookup table's first entry is for, and its entries.

    pydicom's own tables take no 8-bit words, and wrap where 8-bit entries are more than 256.
    """
    count, first, _ = item.LUTDescriptor
    count = count or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        is_little_endian = dataset.original_encoding[1]
        word = ("<u2" if is_little_endian else ">u2") if len(data) >= 2 * count else "u1"
        data = np.frombuffer(data, word, count)
    return int(first), np.asarray(data)


def _through_lut(values: np.ndarray, first: int, entries: np.ndarray) -> np.ndarray:
    """Looks values up in a table; those before and after it get its first and last entry."""
    return entries[np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.intp)]
