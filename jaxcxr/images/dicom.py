"""DICOM files: finding the elements, checking the header, decoding the pixels.

Files without a preamble, without file meta information or without a Transfer Syntax UID are read,
too. `jaxcxr.images.dicom_gray` brings the stored values to the screen. Colors become their luma.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from jaxcxr.errors import UserError
from jaxcxr.images.dicom_gray import draw, is_for_processing, padding_range
from jaxcxr.images.gray import require_upper_bits

Dataset = Any
"""pydicom's `Dataset`; pydicom is an extra and imported only when a DICOM file is read."""

HEAD = 140
"""Bytes by which files are recognized: the preamble and the first element."""

_ONE_SAMPLE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
"""Photometric interpretations of one value per pixel; the others have three."""

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

_VR = re.compile(rb"AE|AS|AT|CS|D[AST]|F[DL]|IS|L[OT]|O[BDFLVW]|PN|S[HLQSTV]|TM|U[CILNRSTV]")
_FIRST_GROUPS = (0x0002, 0x0008)

_RADIOGRAPHY = ("CR", "DX", "DR", "RG")
_CHEST = re.compile("CHEST|THORAX|LUNG", re.IGNORECASE)
_NOT_FRONTAL = re.compile(r"\b(LL|RL|LLD|RLD|[LR][LA]O|[LR]PO)\b|LAT|OBL|DECUB", re.IGNORECASE)


def begins_as_dicom(head: bytes) -> bool:
    """Returns whether a file begins as DICOM does, given its first `HEAD` bytes or more."""
    return _start_of_elements(head) is not None


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
        UserError: pydicom or a decoder is missing, the file holds no image or one of a single gray
            value, or its size is refused.
        Exception: pydicom raises exceptions of many classes for damaged files.
    """
    try:
        import pydicom.uid  # noqa: F401
    except ImportError as error:
        raise UserError("a DICOM file; to read it, pip install 'jaxcxr[dicom]'") from error
    dataset = _read(content)
    if "Rows" not in dataset or "Columns" not in dataset or not any(map(dataset.get, _PIXELS)):
        raise UserError("a DICOM file without an image; name the files that hold radiographs")
    check_size(dataset.Columns, dataset.Rows)
    _require_decoder(dataset)
    _check_frame_size(dataset)
    stored = _decode(dataset)
    photometric = dataset.PhotometricInterpretation
    samples = () if photometric in _ONE_SAMPLE else (3,)
    if stored.shape != (dataset.Rows, dataset.Columns, *samples):
        raise UserError(
            f"pixels of shape {stored.shape} in a file of {photometric}; export it again"
        )
    notes = tuple(_header_notes(dataset))
    if photometric.startswith("MONOCHROME"):
        pixels, more = draw(stored, dataset)
        return pixels, notes + more
    if photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        stored = apply_color_lut(stored, dataset)
        return _luma(stored, 8 * stored.itemsize), notes
    return _luma(stored, dataset.BitsStored), notes


def _start_of_elements(content: bytes) -> int | None:
    """Returns where the first element is; None if the bytes do not begin as DICOM does."""
    if content[128:132] == b"DICM":
        return 132
    if content[:4] == b"DICM":
        return 4
    starts = (start for start in (0, 128) if _is_first_element(content[start : start + 8]))
    return next(starts, None)


def _is_first_element(head: bytes) -> bool:
    if len(head) < 8 or not (head[0] in _FIRST_GROUPS or head[1] in _FIRST_GROUPS):
        return False
    if _VR.match(head[4:6]):
        return 0 in head[:2]
    element, length = int.from_bytes(head[2:4], "little"), int.from_bytes(head[4:], "little")
    return head[:2] == b"\x08\0" and element < 0x100 and 0 < length < 256 and length % 2 == 0


def _read(content: bytes) -> Dataset:
    from pydicom import dcmread, uid

    start = _start_of_elements(content) or 0
    dataset = dcmread(BytesIO(content[start:]), force=True)
    if "TransferSyntaxUID" in dataset.file_meta:
        return dataset
    if (dataset.get("PixelData") or b"").startswith(b"\xfe\xff\x00\xe0"):
        raise UserError(
            "its pixels are compressed, and its Transfer Syntax UID (0002,0010), which names the "
            "compression, is missing; export it again"
        )
    is_implicit, is_little_endian = dataset.original_encoding
    explicit = uid.ExplicitVRLittleEndian if is_little_endian else uid.ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if is_implicit else explicit
    return dataset


def _require_decoder(dataset: Dataset) -> None:
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError:  # pydicom's, of a compression that it does not know
        is_available = False
    if not is_available:
        raise UserError(
            f"compressed as {syntax.name}, for which no decoder is installed; "
            "pip install 'jaxcxr[dicom]', or export it without compression"
        )


def _check_frame_size(dataset: Dataset) -> None:
    """Refuses compressed pixels of another shape, which pydicom would rearrange."""
    from pydicom import encaps, uid

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == uid.RLELossless:  # RLE states no size
        return
    count = dataset.get("NumberOfFrames") or 1
    frame = encaps.get_frame(dataset.PixelData, 0, number_of_frames=count)
    try:
        width, height = Image.open(BytesIO(frame), formats=("JPEG", "JPEG2000")).size
    except UnidentifiedImageError:  # JPEG of more than 8 bits, JPEG-LS
        from libjpeg import get_parameters

        header = get_parameters(frame)
        width, height = header["columns"], header["rows"]
    if (width, height) != (dataset.Columns, dataset.Rows):
        size = f"{dataset.Columns}×{dataset.Rows}, as its header has"
        raise UserError(f"compressed pixels of {width}×{height}; expected {size}; export it again")


def _decode(dataset: Dataset) -> np.ndarray:
    """Returns the stored values of the first frame, without the unused bits of integers.

    A padding value in the unused bits stays: without them it would equal a gray value. pydicom
    looks for values in the lowest bits alone. Writers have got High Bit wrong; that of values that
    fill the lowest bits only does no harm.
    """
    from pydicom.pixels import pixel_array

    raw = pixel_array(dataset, index=0, correct_unused_bits=False)
    stored = dataset.get("BitsStored", dataset.BitsAllocated)
    unused = dataset.BitsAllocated - stored
    if unused <= 0:
        return raw
    high = dataset.get("HighBit", stored - 1)
    if high >= stored and (raw.max() >= 2**stored or raw.min() < -(2 ** (stored - 1))):
        raise UserError(
            f"HighBit (0028,0102) is {high} for {stored} bits stored; only values in the lowest "
            "bits are read: export it again"
        )
    low, high = padding_range(dataset) or (np.inf, -np.inf)
    return np.where((raw >= low) & (raw <= high), raw, (raw << unused) >> unused)


def _luma(colors: np.ndarray, bits: int) -> np.ndarray:
    shift = max(bits - 8, 0)
    gray = np.array(Image.fromarray((colors >> shift).astype(np.uint8), "RGB").convert("L"))
    if shift:
        require_upper_bits(gray)
    return gray


def _header_notes(dataset: Dataset) -> Iterator[str]:
    """Yields what makes the file another picture than a frontal chest radiograph for display."""
    if (count := int(dataset.get("NumberOfFrames") or 1)) > 1:
        yield f"NumberOfFrames (0028,0008) is {count}; the first frame is used"
    if (modality := _text(dataset, "Modality")) and modality.upper() not in _RADIOGRAPHY:
        yield f"Modality (0008,0060) is {modality}; expected {', '.join(_RADIOGRAPHY)}"
    if (part := _text(dataset, "BodyPartExamined")) and not _CHEST.search(part):
        yield f"BodyPartExamined (0018,0015) is {part}; expected CHEST"
    view = _text(dataset, "ViewPosition")
    if _NOT_FRONTAL.search(view):
        yield f"ViewPosition (0018,5101) is {view}; expected a frontal view, PA or AP"
    for code in dataset.get("ViewCodeSequence") or ():
        meaning = _text(code, "CodeMeaning")
        if _NOT_FRONTAL.search(meaning) and not _NOT_FRONTAL.search(view):
            yield f"ViewCodeSequence (0054,0220) is {meaning}; expected a frontal view, PA or AP"
    if is_for_processing(dataset):
        yield (
            "PresentationIntentType (0008,0068) is FOR PROCESSING; its raw values are shown by "
            "logarithm and stretch, not as the detector's maker would show them"
        )


def _text(dataset: Dataset, keyword: str) -> str:
    """Returns an element's value in one line of at most 64 characters; empty if there is none."""
    value = " ".join(str(dataset.get(keyword) or "").split())
    return str(UserError(value[:64]))
