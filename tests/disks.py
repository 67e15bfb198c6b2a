"""Disks that are full, read-only or closed to us, for tests of what happens then.

A tmpfs is mounted where this process may do that. Where it may not, the same system calls fail
for another reason: no file grows beyond a limit, and permission bits take the place of a read-only
disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


class SmallDisk:
    """A disk whose size can be changed; see `small_disk`."""

    def __init__(self, path: Path, mounted: bool) -> None:
        self.path = path
        self.mounted = mounted
        self._usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def resize(self, size: int | None) -> None:
        """Lets the disk hold `size` bytes (no file more than that, where it is not mounted)."""
        if self.mounted:
            _mount(self.path, "remount", f"size={size or 2**30}")
        else:
            limit = self._usual[0] if size is None else size
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, self._usual[1]))

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Lets nothing be written within the block."""
        if self.mounted:
            assert _mount(self.path, "remount", "ro"), "a file on it is open to be written"
            try:
                yield
            finally:
                _mount(self.path, "remount", "rw")
        else:
            with no_permission(self.path):
                yield


@contextlib.contextmanager
def small_disk(
    path: Path, size: int | None = None, *, may_mount: bool = True
) -> Iterator[SmallDisk]:
    """Makes a new folder a disk of `size` bytes for the block."""
    path.mkdir()
    disk = SmallDisk(path, may_mount and _mount(path, f"size={size or 2**30}"))
    try:
        if not disk.mounted:
            disk.resize(size)
        yield disk
    finally:
        if disk.mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
        else:
            disk.resize(None)


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


def _mount(path: Path, *options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
    if os.geteuid() != 0:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
