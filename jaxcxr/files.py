"""Atomic writing: files that are there completely or not at all.

A file that is being written lies beside its final name under a name like `.auc.partial.csv`. A
process that is killed leaves it there; the next one that writes the same file removes it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxcxr.errors import UserError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path to write to, and renames it to `path` when the block succeeds.

    Missing folders are made. When the block fails, what was written is removed and an earlier file
    at `path` stays as it was. The suffix is kept for writers that choose a format by it.

    Args:
        path: The file to write, or a folder that does not exist yet.

    Yields:
        The temporary path, in the same folder.

    Raises:
        UserError: `path` cannot be written (no permission, full disk, a file in place of a folder).
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    _remove(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename and not str(error.filename).startswith(str(temporary)):
            raise
        raise _cannot_be_written(path, error) from error
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Makes a folder and its parents where they are missing.

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
    """Refuses to overwrite input files.

    Args:
        written: Paths of the files to be written.
        read: Paths of the input files.

    Raises:
        UserError: A path of `written` is, or links to, an input file.
    """
    sources = {Path(path).resolve() for path in read}
    for path in written:
        if Path(path).resolve() in sources:
            raise UserError(
                f"{path} would overwrite an input file; write elsewhere", argument="out"
            )


def remove_file(path: str | os.PathLike[str]) -> None:
    """Removes a file if it exists.

    Raises:
        UserError: It cannot be removed (no permission, a read-only disk).
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be removed: {error.strerror}; remove it or choose another place"
        ) from error


def require_no_brackets(folder: str | os.PathLike[str]) -> None:
    """Refuses a folder that Orbax would save into but could not read.

    Orbax takes brackets anywhere in a path for a pattern, and loses the arrays without an error.

    Raises:
        UserError: The absolute path contains a bracket.
    """
    if "[" in (path := os.path.abspath(folder)):
        raise UserError(
            f"{path} contains a bracket, under which weights cannot be saved; choose a path "
            "without brackets"
        )


def require_space(folder: Path, size: int) -> None:
    """Raises the OSError of a full disk if fewer than `size` bytes are free.

    For Orbax, which prints a traceback per array on a full disk.

    Args:
        folder: A folder of the disk.
        size: Bytes that are needed.

    Raises:
        OSError: ENOSPC.
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
    remedy = "free space or choose another place" if full else "choose another place"
    reason = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        in_the_way = next(place for place in (path, *path.parents) if os.path.lexists(place))
        reason = f"{in_the_way} is not a directory"
    return UserError(f"{path} cannot be written: {reason}; {remedy}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text to `path` atomically; see `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
