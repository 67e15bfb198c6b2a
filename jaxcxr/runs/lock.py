"""A lock on the folder of a run: two runs that write to one would ruin each other's files.

The lock itself is `filelock`'s on `.lock`; `lock.json` beside it names the holder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from jaxcxr.errors import UserError
from jaxcxr.files import make_folder, write_text


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock that this process holds; see `acquire`.

    Attributes:
        path: The file `lock.json`, which names host and process.
        content: What this process wrote there.
        file: The lock; the operating system releases it when the process ends, however it ends.
    """

    path: Path
    content: Mapping[str, Any]
    file: filelock.BaseFileLock

    def check(self) -> None:
        """Makes sure that the folder is still the one that was locked.

        Raises:
            UserError: The folder or its lock is gone, or another run has it now.
        """
        if _read(self.path) != self.content:
            raise UserError(
                f"{self.path} is gone: the folder was removed, moved, or taken over by another run "
                "while this one was writing to it; put it back, or start again in another folder"
            )

    def release(self) -> None:
        """Releases the lock and removes `lock.json`."""
        with contextlib.suppress(OSError):
            if _read(self.path) == self.content:
                self.path.unlink()
        self.file.release()


def acquire(workdir: str | Path) -> Lock:
    """Locks the folder of a run for this process; the folder is made where it is missing.

    The lock of a dead process of this machine is taken over.

    Raises:
        UserError: Another run has the folder, or it cannot be written to.
    """
    make_folder(workdir)
    path = Path(workdir) / "lock.json"
    file = filelock.FileLock(path.with_name(".lock"), thread_local=False)
    try:
        file.acquire(blocking=False)
    except filelock.Timeout:
        raise UserError(
            f"{path.parent} is in use by another run: {_words(_read(path))}; wait until it ends, "
            "stop it, or name another folder",
            argument="workdir",
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}; name another folder", argument="workdir"
        ) from error
    host, holder = socket.gethostname(), _read(path)
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    lock = Lock(path, {"host": host, "pid": os.getpid(), "since": since}, file)
    try:
        if holder.get("host", host) != host:  # file systems may lock on one machine only
            raise UserError(
                f"{path.parent} is in use by a run of another machine: {_words(holder)}; "
                f"if that run is dead, delete {path} and start again"
            )
        write_text(path, json.dumps(lock.content) + "\n")
    except UserError:
        file.release()
        raise
    return lock


def is_held(workdir: str | Path) -> bool:
    """Returns whether a process has locked the folder of a run, which exists."""
    file = filelock.FileLock(Path(workdir) / ".lock")
    try:
        with file.acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True


def _words(holder: Mapping[str, Any]) -> str:
    since = f", since {holder['since']}" if "since" in holder else ""
    return f"process {holder.get('pid', '?')} on {holder.get('host', 'this machine')}{since}"


def _read(path: Path) -> dict[str, Any]:
    """Returns who holds the lock; nothing where that is not known."""
    try:
        holder = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}
