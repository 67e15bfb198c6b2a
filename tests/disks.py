"""Folders that take nothing, for tests of what happens then."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


@contextlib.contextmanager
def no_space() -> Iterator[None]:
    """Lets this process make no file longer than 10 bytes: the calls fail as on a full disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@contextlib.contextmanager
def no_permission(path: Path) -> Iterator[None]:
    """Takes away the permission to write in a folder and those below, from root, too."""
    folders = [path, *(folder for folder in path.rglob("*") if folder.is_dir())]
    modes = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in folders}
    with without_roots_privilege():
        try:
            for folder in folders:
                folder.chmod(modes[folder] & ~0o222)
            yield
        finally:
            for folder, mode in modes.items():
                with contextlib.suppress(FileNotFoundError):
                    folder.chmod(mode)


@contextlib.contextmanager
def without_roots_privilege() -> Iterator[None]:
    """Makes permission bits count for root, in this thread and in those that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    kept = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, kept) == 0
    fewer = (ctypes.c_uint32 * 6)(*kept)
    fewer[0] &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, kept) == 0
