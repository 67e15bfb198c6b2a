"""How much work a JPEG file asks for."""

from __future__ import annotations

import mmap
import re

from jaxcxr.errors import UserError

MAX_SCANS = 40
"""Passes over the whole image that are decoded at most: progressive files have about ten."""

_SCAN = re.compile(rb"\xff\xda")  # cannot occur in a scan's own data


def check_scans(data: bytes | mmap.mmap) -> None:
    """Refuses a JPEG file of so many scans that decoding it would take minutes.

    A scan of a few bytes costs a pass over all coefficients, so that a small file can hold
    thousands.

    Raises:
        UserError: There are more than `MAX_SCANS`.
    """
    scans = len(_SCAN.findall(data))
    if scans > MAX_SCANS:
        raise UserError(f"a JPEG of {scans:,} scans; at most {MAX_SCANS} are read: export it again")
