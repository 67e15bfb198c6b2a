"""Files that are there whole or not at all.

What is not whole yet lies beside them under a name like `.auc.myhost.4711.partial.csv`. A process
that is killed leaves it there; the next one that writes to the folder removes it.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxcxr.errors import UserError

_HOST = socket.gethostname()[:20]  # file systems take 255 bytes of a name in all

_REMAINS = re.compile(rf"\..+\.{re.escape(_HOST)}\.(\d+)\.partial(\.\w+)?")


def temporary_path(path: Path) -> Path:
    """Returns the name beside `path` under which this process writes it.

    What processes of this machine that are dead left beside `path` is removed.
    """
    _remove_remains(path.parent.absolute())
    return path.with_name(f".{path.stem}.{_HOST}.{os.getpid()}.partial{path.suffix}")


@functools.cache  # once for each folder: they may hold thousands of files
def _remove_remains(folder: Path) -> None:
    for path in folder.glob(".*.partial*"):
        match = _REMAINS.fullmatch(path.name)
        if match and not is_alive(int(match[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path beside `path` to write to, and renames it to `path` when the block succeeds.

    The folder is made where it is missing. When the block fails, what was written is removed and an
    earlier file at `path` stays as it was. The suffix is kept, so that writers which choose a
    format by it still do.

    Raises:
        UserError: The place cannot be written to (no permission, full disk, a file where a folder
            should be).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_written(path, error) from error
    aside = temporary_path(path)
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if error.filename not in (None, str(path), str(aside)):
            raise
        raise _cannot_be_written(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Makes a folder and those above it where they are missing.

    Raises:
        UserError: It cannot be made (no permission, full disk, a file in its place).
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_written(folder, error) from error


def refuse_overwriting_inputs(
    written: Iterable[str | os.PathLike[str]], read: Iterable[str | os.PathLike[str]]
) -> None:
    """Refuses to write files over those that are read.

    Raises:
        UserError: One of `written` leads to one of `read`.
    """
    sources = {Path(path).resolve() for path in read}
    for path in written:
        if Path(path).resolve() in sources:
            raise UserError(f"{path} would be written over, which is read; name another --out")


def remove_file(path: str | os.PathLike[str]) -> None:
    """Removes a file if it is there.

    Raises:
        UserError: It cannot be removed (no permission, a read-only disk).
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be removed: {error.strerror}; remove it or name another place"
        ) from error


def require_no_brackets(folder: str | os.PathLike[str]) -> None:
    """Refuses a folder that Orbax would save into but could not read.

    It takes brackets anywhere in the path for a pattern, and loses the arrays without a word.

    Raises:
        UserError: There is a bracket in the whole path.
    """
    if "[" in (path := os.path.abspath(folder)):
        raise UserError(f"{path} has a bracket, under which no weights can be kept; name another")


def require_space(folder: Path, size: int) -> None:
    """Raises the OSError of a full disk where a folder's has less than `size` bytes free.

    For Orbax: where it meets a full disk itself, it prints a traceback per array.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def reason_of(error: Exception) -> str:
    """Returns why something could not be written, in the operating system's words if possible."""
    code = re.search(r"os_error_code='(\d+)'", str(error))  # TensorStore's ValueError has it
    if code:
        return os.strerror(int(code[1]))
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]


def _cannot_be_written(path: Path, error: OSError) -> UserError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    way_out = "free space or name another place" if full else "name another place"
    reason = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        in_the_way = next(place for place in (path, *path.parents) if os.path.lexists(place))
        reason = f"{in_the_way} is no folder"
    return UserError(f"{path} cannot be written: {reason}; {way_out}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text to `path` in one piece; see `atomic_write`."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")


def is_alive(pid: int) -> bool:
    """Tells whether there is a process of this number, anyone's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
