"""PNG, JPEG and other image files, for the reader of radiographs."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxcxr.images.radiograph import read_radiograph
from tests.torture.fuzzing.damage import Rng, any_damage, pick
from tests.torture.fuzzing.trial import Trial

Wrong = Callable[[np.ndarray], str | None]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD = len(SIGNATURE) + 25
"""Bytes of a PNG file to the end of its header."""

TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.T,
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].T,
    8: lambda upright: np.rot90(upright, -1),
}
"""The stored pixels that an EXIF orientation turns upright (EXIF 2.3, tag 0112)."""


def read(path: Path) -> np.ndarray:
    """Returns the pixels of a radiograph."""
    return read_radiograph(path).pixels


def trial(
    rng: Rng,
    folder: Path,
    kind: str,
    content: bytes,
    wrong: Wrong | None = None,
    must_accept: bool = False,
) -> Trial:
    """Writes a file under a name that need not fit its format."""
    names = ("a.png", "a.PNG", "a.jpg", "a.dcm", "a.txt", "a", "-a.png", "ä ö.png", "a[1]*.png")
    path = folder / pick(rng, names)
    path.write_bytes(content)
    return Trial(kind, functools.partial(read, path), wrong, must_accept, path.name)


def equals(expected: np.ndarray, tolerance: int = 0) -> Wrong:
    """Returns a check of pixels that should be the expected ones."""

    def wrong(pixels: np.ndarray) -> str | None:
        if pixels.shape != expected.shape or pixels.dtype != np.uint8:
            return f"{pixels.dtype} {pixels.shape} in place of {expected.shape}"
        distance = int(np.abs(pixels.astype(int) - expected).max())
        return f"off by {distance}" if distance > tolerance else None

    return wrong


def is_gray(pixels: np.ndarray) -> str | None:
    """Checks pixels of which only the form is known."""
    form = f"{pixels.dtype} {pixels.shape}"
    return None if pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.size else form


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG file with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, color: int = 0) -> bytes:
    """Returns the IHDR chunk of a PNG file."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def encoded(pixels: np.ndarray | Image.Image, format_: str, **options: Any) -> bytes:
    """Returns an image file that Pillow writes."""
    buffer = BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    """Returns EXIF data that holds an orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def noise(rng: Rng, high: int = 120) -> np.ndarray:
    """Returns (H, W) uint8 that compresses as radiographs do; 0 and 255 occur."""
    height, width = (int(side) for side in rng.integers(32, high, 2))
    slope = np.add.outer(np.arange(height) * rng.integers(1, 3), np.arange(width))
    pixels = (slope % 200 + rng.integers(0, 8, (height, width))).astype(np.uint8)
    pixels.flat[0], pixels.flat[-1] = 0, 255
    return pixels


def smooth(rng: Rng) -> np.ndarray:
    """Returns (H, W) uint8 without edges, which JPEG keeps nearly as they are; 0 and 255 occur."""
    height, width = (int(side) for side in rng.integers(32, 120, 2))
    slope = np.add.outer(np.linspace(0, 1, height), np.linspace(0, 1, width))
    return np.rint(20 + 200 * slope / slope.max()).astype(np.uint8)


def a_png(rng: Rng) -> tuple[bytes, np.ndarray]:
    """Returns a PNG file of some color type and depth, and its gray values."""
    gray = noise(rng)
    mode = pick(rng, ("1", "L", "L", "16", "RGB", "P", "LA", "RGBA"))
    if mode == "1":
        gray = np.where(gray > 127, 255, 0).astype(np.uint8)
        image = Image.fromarray(gray).convert("1", dither=Image.Dither.NONE)
    elif mode == "16":
        image = Image.fromarray(gray.astype(np.uint16) * 257)
    elif mode == "P":
        order = rng.permutation(256).astype(np.uint8)
        image = Image.fromarray(np.argsort(order)[gray].astype(np.uint8))
        image.putpalette(np.repeat(order, 3).tobytes())
    else:
        image = Image.fromarray(gray).convert(mode)
        if mode.endswith("A"):
            image.putalpha(Image.fromarray(rng.integers(0, 256, gray.shape).astype(np.uint8)))
    info = PngInfo()
    info.add_text("Comment", "a radiograph", zip=bool(rng.random() < 0.5))
    info.add_itxt("Comment", "Röntgen")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(b"vpAg", rng.bytes(9))
    options = {"pnginfo": info, "icc_profile": rng.bytes(300)} if rng.random() < 0.5 else {}
    return encoded(image, "PNG", **options), gray


def a_jpeg(rng: Rng, orientation: int = 1) -> tuple[bytes, np.ndarray]:
    """Returns a JPEG file of gray, RGB or CMYK, and what it shows when it is upright."""
    upright = smooth(rng)
    image = Image.fromarray(np.ascontiguousarray(TURNED[orientation](upright)))
    image = image.convert("RGB").convert(pick(rng, ("L", "RGB", "CMYK")))
    options = {"quality": int(rng.integers(90, 101)), "progressive": bool(rng.random() < 0.4)}
    return encoded(image, "JPEG", exif=exif(orientation), **options), upright


def complete_png(rng: Rng, folder: Path) -> Trial:
    content, gray = a_png(rng)
    return trial(rng, folder, "PNG, complete", content, equals(gray), True)


def colored_png(rng: Rng, folder: Path) -> Trial:
    """Colors become their luma (ITU-R 601)."""
    colors = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    luma = np.rint(colors @ [0.299, 0.587, 0.114])
    return trial(rng, folder, "PNG, colors", encoded(colors, "PNG"), equals(luma, 1), True)


def turned_png(rng: Rng, folder: Path) -> Trial:
    """The EXIF orientation is applied."""
    upright, orientation = noise(rng), int(rng.integers(1, 9))
    stored = np.ascontiguousarray(TURNED[orientation](upright))
    content = encoded(stored, "PNG", exif=exif(orientation))
    return trial(rng, folder, "PNG, EXIF orientation", content, equals(upright), True)


def jpeg(rng: Rng, folder: Path) -> Trial:
    content, upright = a_jpeg(rng, int(rng.integers(1, 9)))
    return trial(rng, folder, "JPEG, complete", content, equals(upright, 12), True)


def damaged_png(rng: Rng, folder: Path) -> Trial:
    """Every chunk of a PNG has a checksum: what is accepted has the right pixels."""
    content, gray = a_png(rng)
    way, content = any_damage(rng, content)
    return trial(rng, folder, f"PNG, {way}", content, equals(gray))


def cut_jpeg(rng: Rng, folder: Path) -> Trial:
    """What is accepted shows all that the complete file shows."""
    content, _ = a_jpeg(rng)
    (folder / "complete").write_bytes(content)
    expected = read(folder / "complete")
    cut = content[: rng.integers(0, len(content))]
    return trial(rng, folder, "JPEG, cut", cut, equals(expected))


def damaged_jpeg(rng: Rng, folder: Path) -> Trial:
    """JPEG has no checksums: only the form of what is accepted is known."""
    way, content = any_damage(rng, a_jpeg(rng, int(rng.integers(1, 9)))[0])
    return trial(rng, folder, f"JPEG, {way}", content, is_gray)


def other_file(rng: Rng, folder: Path) -> Trial:
    """Images of other formats are refused or read right; what is not an image is refused."""
    gray = noise(rng)
    if rng.random() < 0.5:
        format_ = pick(rng, ("GIF", "BMP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000"))
        content = encoded(gray, format_)
        return trial(rng, folder, "another image format", content, equals(gray))
    if rng.random() < 0.5:
        more = [Image.fromarray(255 - gray)]
        content = encoded(gray, "PNG", save_all=True, append_images=more)
        return trial(rng, folder, "PNG, animated", content)
    parts = (b"", b"%PDF-1.7\n", b"PK\x03\x04", SIGNATURE, b"\xff\xd8\xff\xe0", b"DICM")
    tails = (b"", rng.bytes(300), bytes(3000), b"<!DOCTYPE html>", chunk(b"IEND", b""))
    return trial(rng, folder, "not an image", pick(rng, parts) + pick(rng, tails))


def forged_png(rng: Rng, folder: Path) -> Trial:
    """Damage under right checksums, to the header or to the compressed pixels."""
    gray = noise(rng)
    height, width = gray.shape
    if rng.random() < 0.5:
        way, stream = any_damage(rng, zlib.compress(np.pad(gray, ((0, 0), (1, 0))).tobytes()))
        pixels = chunk(b"IDAT", stream) + chunk(b"IEND", b"")
        content = SIGNATURE + header(width, height) + pixels
        return trial(rng, folder, f"PNG, zlib stream {way}", content, is_gray)
    numbers = (width, height, 0, 1, 31, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
    depth, color = pick(rng, (8, 8, 1, 2, 4, 16, 7)), pick(rng, (0, 0, *range(8)))
    forged = header(pick(rng, numbers), pick(rng, numbers), depth, color)
    content = SIGNATURE + forged + encoded(gray, "PNG")[HEAD:]
    return trial(rng, folder, "PNG, forged header", content, is_gray)


@functools.cache
def zeros(megabytes: int) -> bytes:
    """Returns so many zeros as a zlib stream."""
    deflate = zlib.compressobj(9)
    million = bytes(10**6)
    return b"".join(deflate.compress(million) for _ in range(megabytes)) + deflate.flush()


@functools.cache
def many_scans() -> bytes:
    """Returns a progressive JPEG of 36 million pixels with 1,000 scans more than it needs."""
    image = encoded(Image.new("L", (6000, 6000)), "JPEG", progressive=True)
    last = image.rindex(b"\xff\xda")
    return image[:last] + image[last:-2] * 1000 + image[-2:]


def bomb(rng: Rng, folder: Path) -> Trial:
    """Small files that grow: by their header, their stream, their texts, their number of scans."""
    end = chunk(b"IEND", b"")
    small = encoded(noise(rng), "PNG")
    head, rest = small[:HEAD], small[HEAD:]
    frame = bytearray(encoded(smooth(rng), "JPEG"))
    size = frame.index(b"\xff\xc0") + 5
    frame[size : size + 4] = b"\xff\xff\xff\xff"
    content = pick(
        rng,
        (
            lambda: SIGNATURE + header(50_000, 50_000) + chunk(b"IDAT", zeros(1)) + end,
            lambda: SIGNATURE + header(64, 64) + chunk(b"IDAT", zeros(400)) + end,
            lambda: head + chunk(b"zTXt", b"Comment\0\0" + zeros(400)) + rest,
            lambda: head + chunk(b"iCCP", b"profile\0\0" + zeros(400)) + rest,
            lambda: head + chunk(b"tEXt", b"a\0b") * 100_000 + rest,
            lambda: bytes(frame),
            many_scans,
        ),
    )
    return trial(rng, folder, "decompression bomb", content(), is_gray)


@functools.cache
def large_png(depth: int, color: int) -> bytes:
    """Returns a black PNG of 39.9 million pixels; color types 0: gray, 2: RGB, 6: RGBA."""
    stream = zeros(5700 * 7000 * {0: 1, 2: 3, 6: 4}[color] * depth // 8 // 10**6 + 2)
    pixels = chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    return SIGNATURE + header(5700, 7000, depth, color) + pixels


def large(rng: Rng, folder: Path) -> Trial:
    """As large as a file may be: within the limits of time and memory."""
    if rng.random() < 0.7:
        content = large_png(*pick(rng, ((8, 0), (16, 0), (8, 2), (16, 6))))
        return trial(rng, folder, "as large as is read", content, is_gray)
    image = Image.new(pick(rng, ("L", "RGB", "CMYK")), (5700, 7000))
    content = encoded(image, "JPEG", progressive=bool(rng.random() < 0.5), exif=exif(6))
    return trial(rng, folder, "as large as is read", content, is_gray)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    complete_png: 12,
    colored_png: 3,
    turned_png: 6,
    jpeg: 10,
    damaged_png: 30,
    cut_jpeg: 8,
    damaged_jpeg: 16,
    other_file: 8,
    forged_png: 8,
    bomb: 1.0,
    large: 0.4,
}
"""How each kind of input is made, and how often."""
