"""From gray values of any depth to the 256 levels that the networks see."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxcxr.errors import UserError

_TAIL = 0.001
"""Share of the pixels at either end that may be marks or dead pixels."""

_OUTLYING = 8
"""How many times the range of the other pixels the complete range is if marks stretch it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """The distinct gray values of a picture.

    Attributes:
        values: (N,), ascending.
        counts: (N,) int64, how many pixels have each value; 0 for values that do not count.
        index: (H, W), unsigned, which value each pixel has.
    """

    values: np.ndarray
    counts: np.ndarray
    index: np.ndarray

    def look_up(self, table: np.ndarray) -> np.ndarray:
        """Returns the picture as (H, W) uint8, given the gray value (N,) uint8 of each value."""
        return table[self.index]


def to_gray(brightness: np.ndarray) -> np.ndarray:
    """Returns brightness of any shape, 0..1, as uint8."""
    return np.rint(255 * np.clip(brightness, 0, 1)).astype(np.uint8)


def require_upper_bits(gray: np.ndarray) -> None:
    """Refuses the upper 8 bits of deeper colors if they are dark because the deep ones are unused.

    Args:
        gray: (H, W) uint8, the luma of the upper 8 bits.

    Raises:
        UserError: The greatest of them, the topmost bit, is unused.
    """
    if gray.max() < 128:
        raise UserError("16-bit colors of which the upper bits are unused; save it as 16-bit gray")


def distinct(pixels: np.ndarray) -> Levels:
    """Returns the distinct values of (H, W) integers or floats.

    Integers of at most 16 bits get all values between their extremes.

    Raises:
        UserError: A value is NaN or infinite.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise UserError("has pixels that are not finite numbers; export it again")
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind == "f" or int(high) - int(low) >= 2**16:
        values, index, counts = np.unique(pixels, return_inverse=True, return_counts=True)
        return Levels(values, counts, index.reshape(pixels.shape))
    values = np.arange(int(low), int(high) + 1)
    offsets = pixels - low  # may wrap around if signed, so that unsigned they are right
    index = offsets.view(f"u{offsets.itemsize}")
    return Levels(values, np.bincount(index.ravel(), minlength=len(values)), index)


def spread(values: np.ndarray, counts: np.ndarray) -> tuple[float, float, tuple[str, ...]]:
    """Returns the gray values that become black and white if nothing else defines them.

    These are the smallest and the greatest. If the range of the central 99.8 % of the pixels is
    less than an eighth of that range, as with one marker pixel, that range is taken.

    Args:
        values: (N,), in any order.
        counts: (N,), how many pixels have each value; pixels of the count 0 are ignored.

    Returns:
        The value of black; the value of white, greater than that of black; notes, each one line.

    Raises:
        UserError: All pixels have the same value.
    """
    values, counts = values[counts > 0].astype(np.float64), counts[counts > 0]
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    if not len(values) or values[0] == values[-1]:
        value = f"the gray value {values[0]:g}" if len(values) else "the padding value"
        raise UserError(f"all its pixels have {value}; it shows nothing")
    below = np.cumsum(counts)
    low, high = values[np.searchsorted(below, [_TAIL * below[-1], (1 - _TAIL) * below[-1]])]
    if low < high and (high - low) * _OUTLYING < values[-1] - values[0]:
        note = (
            f"a few pixels lie far from the others, within {values[0]:g} to {values[-1]:g}; "
            f"the gray values are stretched from {low:g} to {high:g}"
        )
        return low, high, (note,)
    return values[0], values[-1], ()
