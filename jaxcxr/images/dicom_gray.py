"""The stored values of DICOM files as gray values on the screen (PS3.4, N.2; PS3.3, C.11).

Stored values pass the modality LUT (or rescale slope and intercept), then the VOI LUT or window,
the first one if there are several; last, MONOCHROME1 is inverted. Without VOI LUT and window,
values are stretched from the smallest to the greatest that occurs, but plain 8-bit values stay as
they are. A VOI LUT or window that leaves a single gray value is ignored, with a note. Pixels of the
padding value are black, and do not take part. Raw values (FOR PROCESSING) are shown by their
logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxcxr.errors import UserError
from jaxcxr.images.gray import distinct, spread, to_gray

Dataset = Any
"""pydicom's `Dataset`."""

_FLAT = 0.999
"""Share of the pixels within a few gray values from which on a picture shows nothing."""

_FEW = 8
"""How many gray values next to each other show nothing, as of a window far too wide."""

_PROCESSING_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("1.1.1", "1.2.1", "1.3.1")
)
"""Digital X-ray, mammography and intra-oral image storage for processing."""


def is_for_processing(dataset: Dataset) -> bool:
    """Returns whether the file holds raw values of a detector."""
    intent = str(dataset.get("PresentationIntentType") or "").strip().upper()
    return intent == "FOR PROCESSING" or (
        not intent and str(dataset.get("SOPClassUID")) in _PROCESSING_CLASSES
    )


def padding_range(dataset: Dataset) -> tuple[float, float] | None:
    """Returns the smallest and the greatest stored value that is padding; None without padding.

    Integers written with the wrong sign (65535 for -1) are corrected.
    """
    kind = next((kind for kind in ("DoubleFloat", "Float") if f"{kind}PixelData" in dataset), "")
    value = _first(dataset, f"{kind}PixelPaddingValue")
    if value is None:
        return None
    limit = _first(dataset, f"{kind}PixelPaddingRangeLimit")
    ends = [value, value if limit is None else limit]
    if not kind and (bits := dataset.BitsAllocated) <= 16:
        lowest = -(2 ** (bits - 1)) if dataset.get("PixelRepresentation") else 0
        ends = [(end - lowest) % 2**bits + lowest for end in ends]
    return min(ends), max(ends)


def draw(stored: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """Brings stored values to the screen.

    Args:
        stored: (H, W) integers or floats.
        dataset: The file's elements, of MONOCHROME1 or MONOCHROME2.

    Returns:
        (H, W) uint8, and notes, each one line.

    Raises:
        UserError: A value is not finite, or all pixels that are not padding have one value.
    """
    levels = distinct(stored)
    low, high = padding_range(dataset) or (np.inf, -np.inf)
    is_padding = (levels.values >= low) & (levels.values <= high)
    counts = np.where(is_padding, 0, levels.counts)
    values, notes = _through_modality(levels.values, counts, dataset)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    if is_for_processing(dataset):
        values, inverted = _exposure(values, counts, dataset, inverted)
        brightness = None
    else:
        brightness, more = _through_voi(values, counts, dataset)
        notes += more
    if brightness is None:
        black, white, more = spread(values, counts)
        brightness = (values - black) / (white - black)
        notes += more
    table = to_gray(brightness)
    table = 255 - table if inverted else table
    table[is_padding] = 0
    return levels.look_up(table), notes


def _through_modality(
    values: np.ndarray, counts: np.ndarray, dataset: Dataset
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the values (N,) float64 after the modality LUT or rescaling, and notes."""
    if sequence := dataset.get("ModalityLUTSequence"):
        can_be_negative = bool(dataset.get("PixelRepresentation"))
        first, entries, _ = _read_lut(sequence[0], dataset, values[counts > 0], can_be_negative)
        return _look_up(values, first, entries).astype(np.float64), ()
    slope, intercept = _rescale(dataset)
    if slope == 0:
        return values.astype(np.float64), ("RescaleSlope (0028,1053) is 0; it is ignored",)
    with np.errstate(over="ignore"):
        rescaled = slope * values.astype(np.float64) + intercept
    if not np.isfinite(rescaled).all():
        raise UserError(
            f"its rescale slope {slope:g} and intercept {intercept:g} are not usable numbers"
        )
    return rescaled, ()


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = (_first(dataset, f"Rescale{part}") for part in ("Slope", "Intercept"))
    return 1 if slope is None else slope, intercept or 0


def _through_voi(
    values: np.ndarray, counts: np.ndarray, dataset: Dataset
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Returns the brightness (N,) by VOI LUT or window; None if nothing usable defines it."""
    shown = values[counts > 0]
    center, width = (_first(dataset, f"Window{part}") for part in ("Center", "Width"))
    if sequence := dataset.get("VOILUTSequence"):
        first, entries, bits = _read_lut(
            sequence[0], dataset, shown, _can_be_negative(dataset, shown)
        )
        brightness = _look_up(values, first, entries) / (2**bits - 1)
        name = f"the VOI LUT for values from {first} to {first + len(entries) - 1}"
    elif center is not None and width is not None:
        function = str(_first(dataset, "VOILUTFunction", str) or "LINEAR").strip().upper()
        is_small = "BitsStored" not in dataset or width <= 1
        if function == "LINEAR" and is_small and (values != np.rint(values)).any():
            function = "LINEAR_EXACT"  # LINEAR is defined for integers
        brightness = _window(values, center, width, function)
        name = f"the window of center {center:g} and width {width:g}"
    else:
        is_plain = dataset.get("PixelRepresentation") == 0 and "ModalityLUTSequence" not in dataset
        if dataset.get("BitsStored") == 8 and is_plain and _rescale(dataset) == (1, 0):
            spread(values, counts)  # refuses a single value
            return values / 255, ()
        return None, ()
    if len(shown) and (brightness is None or _is_flat(brightness, counts)):
        note = f"{name} leaves nothing of pixel values from {shown.min():g} to {shown.max():g}; "
        return None, (f"{note}it is ignored, and the values are stretched",)
    return brightness, ()


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray | None:
    """Returns the brightness, 0..1, in a window (PS3.3, C.11.2.1.2), None if it is not valid."""
    is_exact = function in ("LINEAR_EXACT", "SIGMOID")
    if not np.isfinite([center, width]).all() or not (width > 0 if is_exact else width >= 1):
        return None
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _is_flat(brightness: np.ndarray, counts: np.ndarray) -> bool:
    below = np.cumsum(np.bincount(to_gray(brightness), weights=counts, minlength=256))
    of_neighbors = below[_FEW - 1 :] - np.append(0, below[:-_FEW])
    return of_neighbors.max() >= _FLAT * below[-1]


def _exposure(
    values: np.ndarray, counts: np.ndarray, dataset: Dataset, inverted: bool
) -> tuple[np.ndarray, bool]:
    """Returns the logarithms of raw values, and whether the greatest of them are dark."""
    sign = _first(dataset, "PixelIntensityRelationshipSign") or 0
    inverted = sign > 0 if sign else inverted  # 1: the more radiation, the greater the value
    relationship = str(dataset.get("PixelIntensityRelationship") or "LIN").strip().upper()
    positive = values[(counts > 0) & (values > 0)]
    if relationship == "LIN" and sign >= 0 and len(positive):
        values = np.log(np.maximum(values, positive.min()))
    return values, inverted


def _can_be_negative(dataset: Dataset, shown: np.ndarray) -> bool:
    """Returns whether values after the modality LUT or rescaling can be negative."""
    if dataset.get("ModalityLUTSequence"):
        return False
    slope, intercept = _rescale(dataset)
    is_signed = bool(dataset.get("PixelRepresentation"))
    return is_signed or slope < 0 or intercept < 0 or bool(len(shown) and shown.min() < 0)


def _read_lut(
    item: Dataset, dataset: Dataset, values: np.ndarray, can_be_negative: bool
) -> tuple[int, np.ndarray, int]:
    """Returns the value of a table's first entry, the entries, and the bits of an entry."""
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count % 2**16 or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        is_little_endian = dataset.original_encoding[1]
        is_packed = len(data) in (count, count + count % 2)  # one byte per entry
        word = np.dtype("u1" if is_packed else "<u2" if is_little_endian else ">u2")
        data = np.frombuffer(data, word, min(count, len(data) // word.itemsize))
    entries = np.atleast_1d(np.asarray(data, np.int64))[:count] & 0xFFFF
    if len(entries) < count:
        raise UserError(
            f"a lookup table of {len(entries)} entries, whose descriptor says {count}; "
            "export it again"
        )
    if len(values):
        if first >= 2**15 and can_be_negative and values.max() < first:
            first -= 2**16
        elif first < 0 and not can_be_negative and first + count <= values.min():
            first += 2**16
    return first, entries, max(bits if bits <= 16 else 0, int(entries.max()).bit_length(), 1)


def _look_up(values: np.ndarray, first: int, entries: np.ndarray) -> np.ndarray:
    """Looks values up in a table; those before and after it get its first and last entry."""
    places = np.clip(np.rint(values) - first, 0, len(entries) - 1)
    return entries[places.astype(np.intp)]


def _first(dataset: Dataset, keyword: str, kind: type = float) -> Any:
    """Returns an element's first value as a number (or text); None if it is missing or empty."""
    value = dataset.get(keyword)
    if value is not None and not isinstance(value, str | bytes) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    return None if value is None or value == "" else kind(value)
