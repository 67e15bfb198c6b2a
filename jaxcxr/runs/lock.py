"""A lock on the folder of a run: two runs that write to one would ruin each other's files."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcxr.errors import UserError
from jaxcxr.files import is_alive, make_folder


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock that this process holds; see `acquire`.

    Attributes:
        path: The file `lock.json`, which names host and process.
        descriptor: Of that file; the operating system lets go of the lock when the process ends,
            however it ends.
    """

    path: Path
    descriptor: int

    def check(self) -> None:
        """Makes sure that the folder is still the one that was locked.

        Raises:
            UserError: The folder or its lock is gone, or another run has it now.
        """
        if not _is_file_of(self.path, self.descriptor):
            raise UserError(
                f"{self.path} is gone: the folder was removed, moved, or taken over by another run "
                "while this one was writing to it; put it back, or start again in another folder"
            )

    def release(self) -> None:
        """Lets go; the file is removed."""
        with contextlib.suppress(OSError):
            if _is_file_of(self.path, self.descriptor):
                self.path.unlink()
        os.close(self.descriptor)


def acquire(workdir: str | Path) -> Lock:
    """Locks the folder of a run for this process; the folder is made where it is missing.

    The lock of a process of this machine that is dead is taken over.

    Raises:
        UserError: Another run has the folder, or it cannot be written to.
    """
    make_folder(workdir)
    path = Path(workdir) / "lock.json"
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror}; name another --workdir"
            ) from error
        holder = _read(descriptor)
        problem = _problem(path, holder, free=_try_to_lock(descriptor, holder))
        if problem:
            os.close(descriptor)
            raise UserError(problem)
        if _is_file_of(path, descriptor):
            break
        os.close(descriptor)  # its run ended, and removed it, after we had opened it
    try:
        _write(descriptor)
    except OSError as error:
        Lock(path, descriptor).release()
        raise UserError(f"{path} cannot be written: {error.strerror}; free space") from error
    return Lock(path, descriptor)


def _try_to_lock(descriptor: int, holder: Mapping[str, Any]) -> bool:
    """Locks the file; where the file system has no locks, a living holder is one who has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise
        return not is_alive(holder.get("pid", 0))
    return True


def _problem(path: Path, holder: Mapping[str, Any], *, free: bool) -> str | None:
    host = holder.get("host")
    if free and host in (None, socket.gethostname()):
        return None
    who = f"process {holder.get('pid', '?')} on {host or 'this machine'}"
    since = f", since {holder['since']}" if "since" in holder else ""
    if host in (None, socket.gethostname()):
        return (
            f"{path.parent} is in use by another run: {who}{since}; "
            "wait until it ends, stop it, or name another --workdir"
        )
    return (
        f"{path.parent} is in use by a run of another machine: {who}{since}; "
        f"if that run is dead, delete {path} and start again"
    )


def _is_file_of(path: Path, descriptor: int) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _read(descriptor: int) -> dict[str, Any]:
    """Returns who holds the lock; nothing where a process died before it had written that."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _write(descriptor: int) -> None:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    content = json.dumps(holder).encode() + b"\n"
    os.ftruncate(descriptor, 0)
    if os.pwrite(descriptor, content, 0) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
