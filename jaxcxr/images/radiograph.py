"""The one decoder of image files: PNG, JPEG, TIFF, BMP and DICOM as 8-bit gray arrays.

8-bit gray values stay as they are. Deeper values are stretched from the smallest to the greatest
that occurs to 0..255. Colors become their luma (ITU-R 601); transparency is ignored. The module
`jaxcxr.images.dicom` documents what happens to DICOM files. A file compressed by gzip is read as
the file inside it. The format follows from the content, not from the name.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from jaxcxr.errors import UserError
from jaxcxr.images import dicom
from jaxcxr.images.gray import distinct, require_upper_bits, spread, to_gray

MIN_SIDE = 32
"""Smallest height and width of a radiograph in pixels."""

MAX_ASPECT = 8
"""Greatest ratio of a radiograph's longer side to its shorter side."""

MAX_PIXELS = 40_000_000
"""Most pixels that are decoded: detectors have up to 20 million, decompression bombs more."""

MAX_BYTES = 512 * 1024**2
"""Size of the largest file that is read."""

FORMATS = "PNG, JPEG, TIFF, BMP or DICOM"
"""The formats that are read, in words."""

_COLORED = "is colored; a radiograph is gray"
_GRAYISH, _COLORED_PART = 40, 0.05
"""How far the channels of a gray pixel lie apart; how many other pixels make a picture colored."""

_GZIP = b"\x1f\x8b"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0, 258, 262


class DamagedImageError(UserError):
    """A radiograph's file that cannot be used.

    Attributes:
        path: The file.
        reason: What is wrong with it, in one line.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path = Path(path)
        self.reason = str(UserError(reason))


@dataclasses.dataclass(frozen=True, eq=False)
class Radiograph:
    """The pixels of an image file as they are meant to be seen.

    Attributes:
        path: The file.
        format: "PNG", "JPEG", "TIFF", "BMP" or "DICOM", by its content.
        pixels: (H, W) uint8, upright, air dark and bone bright.
        notes: Warnings about the file, each one line, for example that its view is lateral.
        orientation: The EXIF orientation (1..8) by which the stored pixels were turned; 1 is none.
    """

    path: Path
    format: str
    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    orientation: int = 1

    @property
    def width(self) -> int:
        """Width in pixels, after the orientation was applied."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels, after the orientation was applied."""
        return self.pixels.shape[0]


def read_radiograph(path: str | os.PathLike[str], content: bytes | None = None) -> Radiograph:
    """Reads a radiograph; see the module for the gray values.

    Args:
        path: The file.
        content: Its bytes, if they are known; then `path` only names them in messages.

    Raises:
        DamagedImageError: The file cannot be read, is in none of the formats, is damaged, has
            several pictures, shows only one gray value, or has a size beyond `MIN_SIDE`,
            `MAX_ASPECT` and `MAX_PIXELS`; the size is checked before the pixels are decompressed.
    """
    with _damage_named(path):
        data = _read_bytes(Path(path)) if content is None else content
        data = gzip.decompress(data) if data.startswith(_GZIP) else data
        format_ = _format_of(data)
        with _ignored_warnings if format_ in ("DICOM", "TIFF") else nullcontext():
            if format_ == "DICOM":
                pixels, notes = dicom.read_pixels(data, _check_size)
                orientation = 1
            else:
                pixels, notes, orientation = _decode(data, format_)
        if (gray := pixels.min()) == pixels.max():
            raise UserError(f"all its pixels have one gray value ({gray}); it shows nothing")
    return Radiograph(Path(path), format_, pixels, notes, orientation)


def picture_size(path: str | os.PathLike[str], content: bytes | None = None) -> tuple[int, int]:
    """Returns the (width, height) in the header of a picture, as its pixels are stored.

    Args:
        path: The file.
        content: Its bytes, if they are known.

    Raises:
        DamagedImageError: It has no header of a picture, or cannot be read.
    """
    with _damage_named(path):
        data = _read_bytes(Path(path)) if content is None else content
        if (format_ := _format_of(data)) in _DECODERS:
            return _DECODERS[format_](io.BytesIO(data)).size
    radiograph = read_radiograph(path, data)
    return radiograph.width, radiograph.height


@contextmanager
def _damage_named(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise DamagedImageError(path, str(error)) from error
    except Exception as error:  # decoders meet damaged bytes with exceptions of any class
        reason = textwrap.shorten(str(error) or type(error).__name__, 300)
        raise DamagedImageError(
            path, f"damaged or not supported ({reason}); export it again"
        ) from error


class _IgnoredWarnings:
    """Ignores readers' warnings while any thread reads: the filters belong to the process."""

    def __init__(self) -> None:
        self._lock, self._readers, self._filters = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._filters.enter_context(warnings.catch_warnings(action="ignore"))
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._filters.close()


_ignored_warnings = _IgnoredWarnings()


def _read_bytes(path: Path) -> bytes:
    if not os.path.isfile(path):  # a pipe or a device would never end
        raise UserError("not a regular file" if os.path.exists(path) else "no such file")
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(f"{size:,} bytes; files of at most {MAX_BYTES:,} bytes are read")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error


def _format_of(data: bytes) -> str:
    if not data:
        raise UserError("empty, 0 bytes; copy it again")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(_TIFF_STARTS):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    if dicom.begins_as_dicom(data):
        return "DICOM"
    raise UserError(f"it begins with {data[:8]!r}; expected a {FORMATS} file")


_DECODERS = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}
"""Pillow's classes: its `open` would refuse decompression bombs without naming their size."""


def _decode(data: bytes, format_: str) -> tuple[np.ndarray, tuple[str, ...], int]:
    """Returns pixels (H, W) uint8, notes and the EXIF orientation that was applied."""
    with _DECODERS[format_](io.BytesIO(data)) as image:
        _check_size(*image.size)
        several = getattr(image, "is_animated", False)
        if several and format_ == "PNG":
            raise UserError("an animation; expected a single picture: save one as its own file")
        if format_ == "PNG":
            image.verify()  # compares the checksums, which decoding does not
            image = PngImageFile(io.BytesIO(data))
        gray, notes = _to_gray(image, data)
        orientation = _orientation(image)  # PNG files may have it behind the pixels
    notes += ("holds several pages; the first one is used",) if several else ()
    picture = Image.fromarray(gray)
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(picture)), notes, orientation


def _orientation(image: Image.Image) -> int:
    if not isinstance(image, TiffImageFile) and "exif" not in image.info:
        return 1
    with _ignored_warnings:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _to_gray(image: Image.Image, data: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    if image.mode.startswith(("I", "F")):
        return _stretch(image)
    if isinstance(image, TiffImageFile):
        deep = max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8
    else:
        deep = data.startswith(b"\x89PNG") and data[24] > 8
    image.info.pop("transparency", None)  # of palettes, Pillow's conversion warns of it
    image = image.convert("RGB") if image.mode == "P" else image
    gray = np.array(image.convert("L"))
    if deep:  # Pillow keeps only the upper 8 bits of 16-bit colors
        require_upper_bits(gray)
    return gray, (_COLORED,) if _is_colored(image) else ()


def _is_colored(image: Image.Image) -> bool:
    """Returns whether at least a twentieth of the pixels are far from gray."""
    if image.mode in ("1", "L", "LA"):
        return False
    colors = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.NEAREST), np.int16)
    return bool((np.ptp(colors, axis=2) > _GRAYISH).mean() > _COLORED_PART)


def _stretch(image: Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    levels = distinct(np.asarray(image))
    low, high, note = spread(levels.values, levels.counts)
    gray = levels.look_up(to_gray((levels.values.astype(np.float64) - low) / (high - low)))
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # which Pillow applies to 8 bits only
        gray = 255 - gray
    return gray, note


def _check_size(width: int, height: int) -> None:
    size = f"{width}×{height} pixels"
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{size}; a radiograph has at least {MIN_SIDE}×{MIN_SIDE}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UserError(f"{size}; a radiograph is at most {MAX_ASPECT} times as long as wide")
    if width * height > MAX_PIXELS:
        raise UserError(f"{size}; at most {MAX_PIXELS:,} pixels are read: make it smaller")
