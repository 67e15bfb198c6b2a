"""How much work a JPEG asks for, before it is decoded."""

from __future__ import annotations

import re
import struct

from jaxcxr.errors import UserError

MAX_SCANS = 40
"""Most passes over the picture that are decoded: progressive files have about ten."""

_SCAN = re.compile(rb"\xff\xda")  # cannot occur in a scan's own data

_JPEG_2000 = b"\xff\x4f\xff\x51"
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Markers SOF0 … SOF15, and SOF55 of JPEG-LS."""


def check_scans(data: bytes) -> None:
    """Refuses a JPEG of so many scans that decoding it would take minutes.

    A scan of a few bytes costs a pass over all coefficients, so that a small file can hold
    thousands.

    Raises:
        UserError: There are more than `MAX_SCANS`.
    """
    scans = len(_SCAN.findall(data))
    if scans > MAX_SCANS:
        raise UserError(f"a JPEG of {scans:,} scans; at most {MAX_SCANS} are read: export it again")


def check_frame(frame: bytes, width: int, height: int) -> None:
    """Refuses a JPEG, JPEG-LS or JPEG 2000 codestream unless its own size is the expected one.

    Raises:
        UserError: The size differs, it has no size, or there are too many scans.
    """
    start = frame.find(_JPEG_2000, 0, 4096)
    size = _jpeg_size(frame) if start < 0 else _jpeg_2000_size(frame, start)
    if size != (width, height):
        found = "no size" if size is None else f"{size[0]}×{size[1]} pixels"
        raise UserError(
            f"damaged: compressed pixels of {found} in a file of {width}×{height}; export it again"
        )
    if start < 0:
        check_scans(frame)


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    place = 2
    while frame.startswith(b"\xff", place) and place + 9 <= len(frame):
        marker = frame[place + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            place += 1
        elif marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", frame, place + 5)
            return width, height
        else:
            place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None


def _jpeg_2000_size(frame: bytes, start: int) -> tuple[int, int] | None:
    if len(frame) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    return right - left, bottom - top
