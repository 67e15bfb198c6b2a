"""From gray values of any depth to the 256 levels that the networks see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxcxr.errors import UserError

_ROWS = 256
"""Rows that are looked up together: NumPy makes each index eight bytes."""


def look_up(values: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Applies a function of the gray value, computed once for each value between the extremes.

    Args:
        values: (H, W), integers of at most 16 bits.
        curve: Maps int32 levels (N,), ascending, to brightness in 0..1 (N,).

    Returns:
        (H, W) uint8.

    Raises:
        UserError: `curve` returns NaN or infinity.
    """
    lowest = int(values.min())
    levels = np.arange(lowest, int(values.max()) + 1, dtype=np.int32)
    brightness = curve(levels)
    if not np.isfinite(brightness).all():
        raise UserError("its rescale slope, intercept or window is no usable number")
    table = np.rint(255 * brightness).astype(np.uint8)
    pixels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        pixels[rows] = table[np.subtract(values[rows], lowest, dtype=np.int32)]
    return pixels


def stretch(levels: np.ndarray) -> np.ndarray:
    """Maps levels linearly to 0..1, the smallest to 0 and the greatest to 1, all to 0 if equal."""
    low, high = float(levels.min()), float(levels.max())
    return (levels - low) / (high - low if high > low else 1)
