"""Image files of every kind, made so that the gray values in them are known."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
SIGNATURE = b"\x89PNG\r\n\x1a\n"

_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG file with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(
    width: int, height: int, depth: int = 8, color: int = GRAY, interlaced: int = 0
) -> bytes:
    """Returns the IHDR chunk of a PNG file."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def encode_png(
    samples: np.ndarray,
    color: int = GRAY,
    depth: int = 8,
    *,
    interlaced: bool = False,
    extra: bytes = b"",
    behind: bytes = b"",
    level: int = 6,
) -> bytes:
    """Returns a PNG file.

    Args:
        samples: (H, W, C) integers below 2**depth.
        color: PNG's color type.
        depth: Bits per sample.
        interlaced: Whether rows come in Adam7's seven passes.
        extra: Chunks between header and pixels.
        behind: Chunks between pixels and end.
        level: Of zlib.
    """
    height, width = samples.shape[:2]
    passes = [*_ADAM7, (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    parts = [_rows(samples[y::dy, x::dx], depth) for y, x, dy, dx in passes]
    pixels = chunk(b"IDAT", zlib.compress(b"".join(parts), level))
    first = header(width, height, depth, color, interlaced)
    return SIGNATURE + first + extra + pixels + behind + chunk(b"IEND", b"")


def _rows(samples: np.ndarray, depth: int) -> bytes:
    """Returns rows of samples as PNG packs them, each behind a zero for its filter."""
    if samples.size == 0:
        return b""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = rows.astype(np.uint8)
    else:
        bits = rows[..., None] >> np.arange(depth - 1, -1, -1) & 1
        packed = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)
    return np.pad(packed, ((0, 0), (1, 0))).tobytes()


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Returns the pixels that EXIF's orientation turns upright (EXIF 2.3, tag 0112)."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]


def exif(orientation: int) -> bytes:
    """Returns EXIF data that holds an orientation, as JPEG has it."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:
    """Returns an image file of Pillow's."""
    buffer = BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def noise(rng: np.random.Generator, low: int = 32, high: int = 120) -> np.ndarray:
    """Returns (H, W) uint8 that compresses as radiographs do; 0 and 255 occur."""
    height, width = (int(side) for side in rng.integers(low, high, 2))
    slope = np.add.outer(np.arange(height) * rng.integers(1, 3), np.arange(width))
    pixels = (slope % 200 + rng.integers(0, 8, (height, width))).astype(np.uint8)
    pixels.flat[0], pixels.flat[-1] = 0, 255
    return pixels


def smooth(rng: np.random.Generator) -> np.ndarray:
    """Returns (H, W) uint8 without edges, which JPEG keeps nearly as they are."""
    height, width = (int(side) for side in rng.integers(32, 120, 2))
    tilt = rng.uniform(0.2, 1)
    slope = np.add.outer(tilt * np.linspace(0, 1, height), np.linspace(0, 1, width))
    return np.rint(20 + 200 * slope / slope.max()).astype(np.uint8)
