"""PNG radiographs as arrays."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from jaxcxr.errors import UserError

MAX_PIXELS = 50_000_000
"""Pixels that are decoded at most: a release's radiographs have one million, bombs far more."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


class DamagedImageError(UserError):
    """A radiograph's file that cannot be used.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def read_png(path: Path, image_size: int | None = None) -> np.ndarray:
    """Decodes a radiograph to gray values.

    Color becomes luminance and transparency is dropped (about 1 % of the real files are RGBA with
    equal channels); 16-bit values v become round(v / 257).

    Args:
        path: The file.
        image_size: Side S of the square to which the picture is resized by Pillow's antialiased
            bilinear filter; the picture's own size where not given.

    Returns:
        (H, W) uint8, or (S, S).

    Raises:
        DamagedImageError: The file cannot be read, is no PNG, is damaged, has more than
            `MAX_PIXELS`, or asks to be turned: boxes are told in pixels as they are stored.
    """
    return decode_png(path, image_size)[0]


def decode_png(
    path: Path, image_size: int | None = None, content: bytes | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns what `read_png` returns, and the picture's own (width, height).

    Args:
        path: The file.
        image_size: As in `read_png`.
        content: Its bytes, where they are known and `path` only names them.
    """
    try:
        return _decode(path.read_bytes() if content is None else content, image_size)
    except OSError as error:
        raise DamagedImageError(path, error.strerror or str(error)) from error
    except Exception as error:  # Pillow's decoders meet damaged bytes with any exception there is
        raise DamagedImageError(path, str(error) or type(error).__name__) from error


def png_size(path: Path) -> tuple[int, int]:
    """Returns the (width, height) in a PNG's header; raises DamagedImageError where it has none."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise DamagedImageError(path, error.strerror or str(error)) from error
    size = size_in(head)
    if size is None:
        raise DamagedImageError(path, f"no PNG file (begins with {head[:8]!r})")
    return size


def size_in(content: bytes) -> tuple[int, int] | None:
    """Returns the (width, height) in a PNG's bytes, of which 24 do; None where there is none."""
    if len(content) < 24 or not content.startswith(_SIGNATURE):
        return None
    return struct.unpack(">II", content[16:24])


def looks_complete(path: Path) -> bool:
    """Tells whether a file begins and ends as a PNG does, without decoding it."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(_SIGNATURE)) == _SIGNATURE
            file.seek(-len(_END), io.SEEK_END)
            return begins and file.read() == _END
    except OSError:
        return False


def damage_in(path: Path, content: bytes) -> str | None:
    """Returns what is wrong with the bytes of a file; None where they begin and end as a PNG."""
    if content.startswith(_SIGNATURE) and content.endswith(_END):
        return None
    try:
        decode_png(path, content=content)
    except DamagedImageError as error:
        return error.reason
    return None


def _decode(data: bytes, image_size: int | None) -> tuple[np.ndarray, tuple[int, int]]:
    if not data.startswith(_SIGNATURE):
        raise ValueError(f"no PNG file (begins with {data[:8]!r})" if data else "empty file")
    width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"{width}×{height} pixels; expected 1 to {MAX_PIXELS:,}")
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.verify()  # the chunks' checksums, which decoding does not look at
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        if getattr(image, "is_animated", False):
            raise ValueError("an animation; expected a single picture")
        if (orientation := image.getexif().get(ExifTags.Base.Orientation)) in range(2, 9):
            raise ValueError(f"its EXIF orientation is {orientation}; save it upright")
        gray = _to_gray(image)
    if image_size is not None:
        gray = gray.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(gray), (width, height)


def _to_gray(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of gray
        levels = np.asarray(image).astype(np.uint16)
        quotient, rest = np.divmod(levels, 257)
        return Image.fromarray((quotient + (rest > 128)).astype(np.uint8))
    return image.convert("RGB").convert("L") if image.mode == "P" else image.convert("L")
