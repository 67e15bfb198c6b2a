"""Image files as radiographs: PNG, JPEG and DICOM become upright 8-bit gray arrays."""

from __future__ import annotations

import dataclasses
import glob
import mmap
import os
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from jaxcxr.errors import UserError
from jaxcxr.images import dicom
from jaxcxr.images.gray import look_up, stretch
from jaxcxr.images.jpeg import check_scans

MIN_SIDE = 32
"""Height and width that a radiograph has at least, in pixels."""

MAX_ASPECT = 8
"""How many times as long as wide a radiograph is at most."""

MAX_PIXELS = 40_000_000
"""Pixels that are read at most: detectors have up to 20 million, decompression bombs more."""

MAX_BYTES = 512 * 1024**2
"""Size of the largest file that is read."""

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".dcm", ".dicom"})


@dataclasses.dataclass(frozen=True, eq=False)
class Radiograph:
    """An image file's pixels as one looks at them.

    Attributes:
        path: The file.
        format: "PNG", "JPEG" or "DICOM", told by its content.
        pixels: (H, W) uint8, upright, air dark and bone bright.
    """

    path: Path
    format: str
    pixels: np.ndarray

    @property
    def width(self) -> int:
        """Width in pixels, after the orientation that the file asks for."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels, after the orientation that the file asks for."""
        return self.pixels.shape[0]


def read_radiograph(path: str | Path) -> Radiograph:
    """Reads a radiograph from a PNG, JPEG or DICOM file, whatever its name says it is.

    8-bit gray values stay as they are, and colors become their luma; transparency is ignored, as
    in the prepared dataset. The values of deeper gray images are spread over 0..255, from the
    smallest to the greatest that occurs. EXIF orientation is applied. What DICOM files undergo says
    `jaxcxr.images.dicom`.

    Raises:
        UserError: The file cannot be read, is none of these formats, is damaged or animated, or has
            a size beyond `MIN_SIDE`, `MAX_ASPECT` and `MAX_PIXELS`, which is checked before
            anything is decompressed.
    """
    path = Path(path)
    try:
        return _read(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # decoders meet a stranger's bytes with any exception there is
        reason = textwrap.shorten(str(error) or type(error).__name__, 300)
        raise UserError(f"{path}: damaged or not supported ({reason}); export it again") from error


def find_radiographs(
    arguments: Sequence[str | Path], *, but_not_in: str | Path | None = None
) -> list[Path]:
    """Finds the files that files, folders and patterns name, sorted and each once.

    Folders are searched with all they contain for names that end as PNG, JPEG and DICOM files do,
    and for DICOM files of any name; names that begin with a dot are left out. A file named as such
    is taken, so that reading it can say what is wrong with it.

    Args:
        arguments: Paths of files and folders, and patterns with ``*``, ``?``, ``[…]`` and ``**``.
        but_not_in: A folder whose files are passed over, for example that of the results.

    Raises:
        UserError: There are no arguments, or one names a folder or pattern without radiographs.
    """
    if not arguments:
        raise UserError("no radiographs are named: name PNG, JPEG or DICOM files, or folders")
    found: dict[str, Path] = {}
    for argument in arguments:
        paths = [
            path
            for path in _expand(str(argument))
            if but_not_in is None or not lies_in(path, but_not_in)
        ]
        if not paths:
            raise UserError(f"{argument}: no PNG, JPEG or DICOM file there; name another place")
        for path in paths:
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def lies_in(path: Path, folder: str | Path) -> bool:
    """Tells whether a path leads into a folder, links and dots followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _expand(argument: str) -> Iterator[Path]:
    argument = os.path.expanduser(argument)
    if os.path.isdir(argument):
        yield from _search(Path(argument))
    elif os.path.exists(argument) or not glob.has_magic(argument):
        yield Path(argument)
    else:
        for match in map(Path, glob.iglob(argument, recursive=True)):
            yield from _search(match) if match.is_dir() else [match]


def _search(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and _is_promising(path):
            yield path


def _is_promising(path: Path) -> bool:
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        return _read_head(path)[128:] == b"DICM"
    except UserError:
        return False


def _read(path: Path) -> Radiograph:
    head = _read_head(path)
    if not head:
        raise UserError("empty, 0 bytes; copy it again")
    if head[128:] == b"DICM":
        return Radiograph(path, "DICOM", dicom.read_pixels(path, _check_size))
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Radiograph(path, "PNG", _read_image(path, PngImageFile))
    if head.startswith(b"\xff\xd8\xff"):
        return Radiograph(path, "JPEG", _read_image(path, JpegImageFile))
    raise UserError(f"it begins with {head[:8]!r}; expected a PNG, JPEG or DICOM file")


def _read_head(path: Path) -> bytes:
    """Returns the file's first 132 bytes, by which each format is told."""
    if not os.path.isfile(path):  # a pipe or a device would never end
        raise UserError("no regular file" if os.path.exists(path) else "no such file")
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(f"{size:,} bytes; files of at most {MAX_BYTES:,} bytes are read")
        with path.open("rb") as file:
            return file.read(132)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error


def _read_image(path: Path, decoder: type[PngImageFile | JpegImageFile]) -> np.ndarray:
    # Image.open would meet a decompression bomb with an error of its own, which hides the size.
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        image = decoder(file)
        _check_size(*image.size)
        if getattr(image, "is_animated", False):
            raise UserError("an animation; expected a single image")
        if isinstance(image, PngImageFile):
            image.verify()  # the checksums, which decoding does not look at
            file.seek(0)
            image = decoder(file)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                check_scans(content)
        gray = _to_gray(image, _bits_per_sample(path, image))
        image.close()  # its pixels take four times the memory of the gray ones
        return _upright(gray, image)


def _bits_per_sample(path: Path, image: Image.Image) -> int:
    if image.format != "PNG":
        return 8
    with path.open("rb") as file:
        return file.read(25)[24]


def _to_gray(image: Image.Image, bits: int) -> np.ndarray:
    if image.mode.startswith("I"):
        return look_up(np.asarray(image), stretch)
    gray = np.array(image.convert("L"))
    if bits > 8 and gray.max() < 128:  # Pillow keeps only the upper 8 bits of 16-bit colors
        raise UserError("16-bit colors of which the upper bits are unused; save it as 16-bit gray")
    return gray


def _upright(gray: np.ndarray, image: Image.Image) -> np.ndarray:
    """Returns an image's gray values (H, W) turned as its file asks for."""
    stored = Image.fromarray(gray)
    stored.info = image.info
    return np.array(ImageOps.exif_transpose(stored))


def _check_size(width: int, height: int) -> None:
    size = f"{width}×{height} pixels"
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{size}; a radiograph has at least {MIN_SIDE}×{MIN_SIDE}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UserError(f"{size}; a radiograph is at most {MAX_ASPECT} times as long as wide")
    if width * height > MAX_PIXELS:
        raise UserError(f"{size}; at most {MAX_PIXELS:,} pixels are read: make it smaller")
