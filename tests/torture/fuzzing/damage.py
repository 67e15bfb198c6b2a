"""What storage and transfer do to files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def truncated(rng: np.random.Generator, data: bytes) -> bytes:
    """Returns the beginning of a file."""
    return data[: rng.integers(0, len(data))]


def flipped(rng: np.random.Generator, data: bytes) -> bytes:
    """Returns a file with one to eight other bits, most often one."""
    content = bytearray(data)
    for _ in range(min(rng.geometric(0.6), 8)):
        content[rng.integers(0, len(content))] ^= 1 << rng.integers(0, 8)
    return bytes(content)


def overwritten(rng: np.random.Generator, data: bytes) -> bytes:
    """Returns a file in which a stretch is noise, or zeros as after a lost disk block."""
    start, length = _stretch(rng, data)
    filling = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    return data[:start] + filling + data[start + length :]


def shortened(rng: np.random.Generator, data: bytes) -> bytes:
    """Returns a file without a stretch within it."""
    start, length = _stretch(rng, data)
    return data[:start] + data[start + length :]


def lengthened(rng: np.random.Generator, data: bytes) -> bytes:
    """Returns a file with a stretch twice, or with noise in between."""
    start, length = _stretch(rng, data)
    more = data[start : start + length] if rng.random() < 0.5 else rng.bytes(length)
    return data[:start] + more + data[start:]


def appended(rng: np.random.Generator, data: bytes) -> bytes:
    """Returns a file with noise or zeros behind it."""
    length = int(rng.integers(1, 2000))
    return data + (rng.bytes(length) if rng.random() < 0.5 else bytes(length))


SPLIT_METHODS: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (
    truncated,
    flipped,
    flipped,
    overwritten,
    shortened,
    lengthened,
    appended,
)


def any_way(rng: np.random.Generator, data: bytes) -> tuple[str, bytes]:
    """Returns the name of a way to damage a file, and the damaged file."""
    way = SPLIT_METHODS[rng.integers(0, len(SPLIT_METHODS))]
    return way.__name__, way(rng, data)


def _stretch(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    start = int(rng.integers(0, len(data)))
    return start, int(min(rng.geometric(1 / 40), len(data) - start))
