"""Image files for the decoder of radiographs."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcxr.images.radiograph import read_radiograph
from tests.torture.fuzzing import damage
from tests.torture.fuzzing.image_files import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    encode,
    encode_png,
    exif,
    header,
    noise,
    smooth,
    stored_as,
)
from tests.torture.fuzzing.trial import Trial

Rng = np.random.Generator

NAMES = ("a.png", "a.PNG", "a.jpg", "a.dcm", "a.txt", "a", "-a.png", "ä ö.png", "a[1]*.png")


def read(path: Path) -> np.ndarray:
    return read_radiograph(path).pixels


def trial(
    rng: Rng,
    folder: Path,
    kind: str,
    content: bytes,
    wrong: Callable[[np.ndarray], str | None] | None = None,
    *,
    must_accept: bool = False,
) -> Trial:
    """Writes a file under a name that need not tell its format."""
    path = folder / NAMES[rng.integers(0, len(NAMES))]
    path.write_bytes(content)
    return Trial(kind, functools.partial(read, path), wrong, must_accept, path.name)


def equals(expected: np.ndarray, tolerance: int = 0) -> Callable[[np.ndarray], str | None]:
    """Returns what is wrong with pixels that should be the expected ones."""

    def wrong(pixels: np.ndarray) -> str | None:
        if pixels.shape != expected.shape or pixels.dtype != np.uint8:
            return f"{pixels.dtype} {pixels.shape} in place of {expected.shape}"
        distance = int(np.abs(pixels.astype(int) - expected).max())
        return f"off by {distance}" if distance > tolerance else None

    return wrong


def is_gray(pixels: np.ndarray) -> str | None:
    """Tells what is wrong with pixels of which only the form is known."""
    form = f"{pixels.dtype} {pixels.shape}"
    return None if pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.size else form


def ancillary(rng: Rng) -> bytes:
    """Returns chunks that leave gray values as they are: text, time, color profile …"""
    profile = b"p\0\0" + zlib.compress(rng.bytes(300))
    chunks = (
        chunk(b"gAMA", (45455).to_bytes(4, "big")),
        chunk(b"sRGB", b"\0"),
        chunk(b"iCCP", profile),
        chunk(b"tEXt", b"Comment\0a radiograph"),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"radiograph " * 20)),
        chunk(b"iTXt", b"Comment\0\0\0\0\0" + "Röntgen".encode()),
        chunk(b"pHYs", bytes(8) + b"\1"),
        chunk(b"tIME", bytes([7, 224, 2, 30, 25, 61, 61])),
        chunk(b"vpAg", rng.bytes(9)),
    )
    return b"".join(part for part in chunks if rng.random() < 0.25)


def a_png(rng: Rng) -> tuple[bytes, np.ndarray]:
    """Returns a PNG file of some color type, depth and order of rows, and its gray values."""
    gray = noise(rng)
    color = (GRAY, GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA)[rng.integers(0, 6)]
    depths = {GRAY: (1, 2, 4, 8, 16), PALETTE: (8,)}.get(color, (8, 16))
    depth = int(rng.choice(depths))
    extra = ancillary(rng)
    if depth < 8:
        samples = gray >> 8 - depth
        gray = (samples * (255 // (2**depth - 1))).astype(np.uint8)
    else:
        samples = gray.astype(np.uint16) * (257 if depth == 16 else 1)
    samples = samples[..., None]
    if color == PALETTE:
        order = rng.permutation(256)
        samples = np.argsort(order)[samples]
        extra += chunk(b"PLTE", np.repeat(order, 3).astype(np.uint8).tobytes())
        extra += chunk(b"tRNS", rng.bytes(256)) if rng.random() < 0.3 else b""
    elif color in (RGB, RGBA):
        samples = np.repeat(samples, 3, axis=-1)
    if color in (GRAY_ALPHA, RGBA):
        alpha = rng.integers(0, 256, (*gray.shape, 1)) * (257 if depth == 16 else 1)
        samples = np.concatenate([samples, alpha], axis=-1)
    return encode_png(samples, color, depth, interlaced=rng.random() < 0.3, extra=extra), gray


def a_jpeg(rng: Rng, orientation: int = 0) -> tuple[bytes, np.ndarray]:
    """Returns a JPEG file of gray, RGB or CMYK, and what it shows when it is upright."""
    upright = smooth(rng)
    stored = np.ascontiguousarray(stored_as(upright, orientation or 1))
    mode = ("L", "RGB", "CMYK")[rng.integers(0, 3)]
    image = Image.fromarray(stored)
    image = image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    options = {
        "quality": int(rng.integers(90, 101)),
        "progressive": bool(rng.random() < 0.4),
        "icc_profile": rng.bytes(400) if rng.random() < 0.2 else None,
    }
    if orientation:
        options["exif"] = exif(orientation)
    return encode(image, "JPEG", **options), upright


def sound_png(rng: Rng, folder: Path) -> Trial:
    content, gray = a_png(rng)
    return trial(rng, folder, "PNG, whole", content, equals(gray), must_accept=True)


def colored_png(rng: Rng, folder: Path) -> Trial:
    """Colors become their luma (ITU-R 601), of a palette as of pixels."""
    colors = rng.integers(0, 256, (*noise(rng).shape, 3)).astype(np.uint8)
    if rng.random() < 0.5:
        colors = (
            colors[:1, :1] // (1 + np.arange(4)[:, None]).repeat(40, 0).repeat(50, 1)[..., None]
        )
        image = Image.fromarray(colors.astype(np.uint8)).quantize(256)
        colors = np.asarray(image.convert("RGB"))
        content = encode(image, "PNG")
    else:
        content = encode_png(colors, RGB)
    luma = np.rint(colors @ [0.299, 0.587, 0.114])
    return trial(rng, folder, "PNG, colors", content, equals(luma, 1), must_accept=True)


def sound_jpeg(rng: Rng, folder: Path) -> Trial:
    content, gray = a_jpeg(rng)
    wrong = equals(gray, 12)
    kind = "JPEG, whole (gray, RGB, CMYK)"
    return trial(rng, folder, kind, content, wrong, must_accept=True)


def turned_png(rng: Rng, folder: Path) -> Trial:
    """The EXIF orientation is applied."""
    upright, orientation = noise(rng), int(rng.integers(1, 9))
    tags = chunk(b"eXIf", exif(orientation).removeprefix(b"Exif\0\0"))
    where = "extra" if rng.random() < 0.7 else "behind"
    stored = stored_as(upright, orientation)[..., None]
    content = encode_png(stored, **{where: tags})
    kind = "PNG, EXIF orientation"
    return trial(rng, folder, kind, content, equals(upright), must_accept=True)


def turned_jpeg(rng: Rng, folder: Path) -> Trial:
    content, upright = a_jpeg(rng, int(rng.integers(1, 9)))
    wrong = equals(upright, 12)
    kind = "JPEG, EXIF orientation"
    return trial(rng, folder, kind, content, wrong, must_accept=True)


def cut_png(rng: Rng, folder: Path) -> Trial:
    content, gray = a_png(rng)
    cut = damage.truncated(rng, content)
    whole = len(cut) >= len(content) - 12  # all but the end mark is there
    return trial(rng, folder, "PNG, truncated", cut, equals(gray) if whole else None)


def damaged_png(rng: Rng, folder: Path) -> Trial:
    """Every chunk of a PNG has a checksum: what is accepted has the right pixels."""
    content, gray = a_png(rng)
    way, content = damage.any_way(rng, content)
    return trial(rng, folder, f"PNG, {way}", content, equals(gray))


def cut_jpeg(rng: Rng, folder: Path) -> Trial:
    """What is accepted shows all that the whole file shows."""
    content, _ = a_jpeg(rng)
    (folder / "whole").write_bytes(content)
    expected = read(folder / "whole")
    return trial(
        rng,
        folder,
        "JPEG, truncated",
        damage.truncated(rng, content),
        equals(expected),
    )


def damaged_jpeg(rng: Rng, folder: Path) -> Trial:
    """JPEG has no checksums: only the form of what is accepted is known."""
    content, _ = a_jpeg(rng, int(rng.integers(0, 9)))
    way, content = damage.any_way(rng, content)
    return trial(rng, folder, f"JPEG, {way}", content, is_gray)


def wrong_extension(rng: Rng, folder: Path) -> Trial:
    """The format follows from the content."""
    content, gray = a_jpeg(rng)
    path = folder / "a.png"
    path.write_bytes(content)
    kind = "JPEG named .png"
    return Trial(kind, functools.partial(read, path), equals(gray, 12), True, "a.png")


def other_format(rng: Rng, folder: Path) -> Trial:
    image = Image.fromarray(noise(rng))
    format_ = ("GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000", "ICO")[rng.integers(0, 8)]
    return trial(rng, folder, "another image format", encode(image, format_))


def no_image(rng: Rng, folder: Path) -> Trial:
    contents = (
        b"",
        rng.bytes(int(rng.integers(1, 3000))),
        bytes(int(rng.integers(1, 3000))),
        b"<!DOCTYPE html><html>404 Not Found</html>",
        b"PK\x03\x04" + rng.bytes(300),
        b"%PDF-1.7\n" + rng.bytes(300),
        SIGNATURE + rng.bytes(300),
        b"\xff\xd8\xff\xe0" + rng.bytes(300),
        bytes(128) + b"DICM" + rng.bytes(300),
        SIGNATURE + header(64, 64) + chunk(b"IEND", b""),
        SIGNATURE + chunk(b"IEND", b""),
    )
    return trial(rng, folder, "no image", contents[rng.integers(0, len(contents))])


def animation(rng: Rng, folder: Path) -> Trial:
    gray = noise(rng)
    more = [Image.fromarray(255 - gray) for _ in range(rng.integers(1, 4))]
    options = {"save_all": True, "append_images": more}
    if rng.random() < 0.5:
        options["default_image"] = True
    return trial(rng, folder, "PNG, animated", encode(Image.fromarray(gray), "PNG", **options))


def forged_header(rng: Rng, folder: Path) -> Trial:
    """A header that contradicts the pixels, under a right checksum: Pillow leaves rows black."""
    gray = noise(rng)
    height, width = gray.shape
    content = encode_png(gray[..., None])
    head = len(SIGNATURE + header(1, 1))
    field = rng.integers(0, 4)
    if field == 0:
        forged = header(width, height + int(rng.integers(1, 500)))
    elif field == 1:
        forged = header(width + int(rng.integers(1, 500)), height)
    elif field == 2:
        depth, color = (int(rng.choice(choices)) for choices in ((1, 2, 4, 8, 16, 7), range(8)))
        forged = header(width, height, depth, color)
    else:
        numbers = (0, 1, 31, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
        forged = header(*(int(rng.choice(numbers)) for _ in "wh"))
    content = SIGNATURE + forged + content[head:]
    return trial(rng, folder, "PNG, forged header", content, is_gray)


def damaged_stream(rng: Rng, folder: Path) -> Trial:
    """Pixels damaged before the PNG was written, so that its checksums are right."""
    gray = noise(rng)
    rows = np.pad(gray, ((0, 0), (1, 0))).tobytes()
    way, stream = damage.any_way(rng, zlib.compress(rows))
    content = SIGNATURE + header(*gray.shape[::-1]) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    wrong = equals(gray) if way in ("truncated", "appended") else is_gray
    return trial(rng, folder, f"PNG, zlib stream {way}", content, wrong)


@functools.cache
def zeros(megabytes: int) -> bytes:
    """Returns so many zeros in zlib's words."""
    deflate = zlib.compressobj(9)
    million = bytes(10**6)
    return b"".join(deflate.compress(million) for _ in range(megabytes)) + deflate.flush()


def bomb(rng: Rng, folder: Path) -> Trial:
    """Small files that grow: by their header, their stream, their texts, their number of scans."""
    end = chunk(b"IEND", b"")
    small = encode_png(noise(rng)[..., None])
    head = len(SIGNATURE + header(1, 1))
    choice = rng.integers(0, 7)
    wrong = None
    if choice == 0:
        sides = [int(side) for side in rng.integers(7_000, 60_000, 2)]
        content = SIGNATURE + header(*sides) + chunk(b"IDAT", zeros(1)) + end
    elif choice == 1:
        content = SIGNATURE + header(64, 64) + chunk(b"IDAT", zeros(400)) + end
        wrong = is_gray
    elif choice == 2:
        content = small[:head] + chunk(b"zTXt", b"Comment\0\0" + zeros(400)) + small[head:]
        wrong = is_gray
    elif choice == 3:
        content = small[:head] + chunk(b"iCCP", b"profile\0\0" + zeros(400)) + small[head:]
        wrong = is_gray
    elif choice == 4:
        content = small[:head] + chunk(b"tEXt", b"a\0b") * 100_000 + small[head:]
        wrong = is_gray
    elif choice == 5:
        image = bytearray(encode(Image.fromarray(smooth(rng)), "JPEG"))
        size = image.index(b"\xff\xc0") + 5
        image[size : size + 4] = b"\xff\xff\xff\xff"
        content = bytes(image)
    else:
        content, wrong = many_scans(), is_gray
    return trial(rng, folder, "decompression bomb", content, wrong)


@functools.cache
def many_scans() -> bytes:
    """Returns a progressive JPEG of 36 million pixels with 1,000 scans more than it needs."""
    image = encode(Image.new("L", (6000, 6000)), "JPEG", progressive=True)
    last = image.rindex(b"\xff\xda")
    return image[:last] + image[last:-2] * 1000 + image[-2:]


LARGE_SIZE = 5700, 7000
LARGE = (
    (GRAY, 8, False),
    (GRAY, 8, True),
    (GRAY, 16, False),
    (GRAY, 16, True),
    (RGB, 8, False),
    (RGBA, 16, False),
    (RGBA, 16, True),
    (GRAY_ALPHA, 16, False),
)


@functools.cache
def large_png(color: int, depth: int, interlaced: bool) -> bytes:
    """Returns a black PNG of 39.9 million pixels."""
    width, height = LARGE_SIZE
    channels = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGBA: 4}[color]
    megabytes = width * height * channels * depth // 8 // 10**6 + 2
    first = header(width, height, depth, color, interlaced)
    return SIGNATURE + first + chunk(b"IDAT", zeros(megabytes)) + chunk(b"IEND", b"")


def large(rng: Rng, folder: Path) -> Trial:
    """As large as a file may be: within the limits of time and memory."""
    if rng.random() < 0.3:
        mode = ("L", "RGB", "CMYK")[rng.integers(0, 3)]
        content = large_jpeg(mode, bool(rng.random() < 0.5))
    else:
        content = large_png(*LARGE[rng.integers(0, len(LARGE))])
    kind = "as large as is read"
    return trial(rng, folder, kind, content, is_gray)


@functools.cache
def large_jpeg(mode: str, progressive: bool) -> bytes:
    """Returns a black JPEG of 39.9 million pixels."""
    return encode(Image.new(mode, LARGE_SIZE), "JPEG", progressive=progressive, exif=exif(6))


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    sound_png: 12,
    colored_png: 3,
    sound_jpeg: 6,
    turned_png: 6,
    turned_jpeg: 6,
    cut_png: 12,
    damaged_png: 20,
    cut_jpeg: 8,
    damaged_jpeg: 16,
    wrong_extension: 3,
    other_format: 3,
    no_image: 4,
    animation: 3,
    forged_header: 4,
    damaged_stream: 4,
    bomb: 1.0,
    large: 0.4,
}
"""How each kind of input is made, and how often."""
