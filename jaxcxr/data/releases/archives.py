"""Reading a release's archives, images_001.tar.gz … or .zip, without extracting them.

An archive is read from its beginning to its end: once to list its radiographs, and once more for
each split that is prepared from it. Nothing is written to the disk; members that no release has
(absolute paths, `..`, links, special files) are refused all the same.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from jaxcxr.data.releases.problems import Problems
from jaxcxr.errors import UserError
from jaxcxr.images.radiograph import DamagedImageError, picture_size

MAX_BYTES = 64 * 1024**2
"""Largest member and headers that are read, in bytes; a radiograph's file has half a million."""


@dataclasses.dataclass(frozen=True)
class ArchivedImage:
    """A radiograph's PNG file in an archive.

    Attributes:
        archive: The archive's file.
        member: Its name there, "images/00000001_000.png".
        png_size: Width and height in pixels by its header; None where that is damaged.
    """

    archive: Path
    member: str
    png_size: tuple[int, int] | None

    @property
    def path(self) -> Path:
        """The archive's path, and the file's name there."""
        return self.archive / self.member


def find_archives(root: Path) -> list[Path]:
    """Returns the archives in a release's folder, and in images/, where NIH has them."""
    places = [place / pattern for place in (root, root / "images") for pattern in _READERS]
    return [path for place in places for path in sorted(place.parent.glob(f"*{place.name}"))]


def list_images(archives: Sequence[Path], problems: Problems) -> list[ArchivedImage]:
    """Reads archives to their ends, several at a time, under a progress bar.

    Returns:
        The PNG files in them, of a damaged archive those before the damage.
    """
    refused = []

    def read(path: Path) -> list[ArchivedImage]:
        images = []
        try:
            for member, content in read_images(path):
                images.append(_archived_image(path, member, content))
                bar.update()
        except UserError as error:
            refused.append(str(error))
        return images

    with (
        tqdm(desc="reading archives", unit=" images", disable=None) as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        found = [image for images in pool.map(read, archives) for image in images]
    problems.add("archives that cannot be read", sorted(refused))
    return found


def _archived_image(archive: Path, member: str, content: bytes) -> ArchivedImage:
    try:
        size = picture_size(archive / member, content)
    except DamagedImageError:  # preparing reports it
        size = None
    return ArchivedImage(archive, member, size)


def read_images(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the bytes of each PNG file in an archive, in the archive's order.

    Raises:
        UserError: The archive cannot be read, is damaged, or holds what no release does: a member
            with an absolute path or `..`, a link, a special file, more than `MAX_BYTES` bytes.
    """
    last = "its beginning"
    members = next(reader for suffix, reader in _READERS.items() if path.name.endswith(suffix))
    try:
        for name, size, is_plain, read in members(path):
            place = PurePosixPath(name)
            problem = None
            if place.is_absolute() or ".." in place.parts or "\\" in name:
                problem = "a path that leads out of the archive"
            elif not is_plain:
                problem = "a link or a special file"
            elif not 0 <= size <= MAX_BYTES:
                problem = f"{size:,} bytes; expected {MAX_BYTES:,} at most"
            if problem:
                raise UserError(f"{path} has {name!r}: {problem}; download it again, or move it")
            last = repr(name)
            if name.lower().endswith(".png") and not place.name.startswith("."):
                yield name, read()
    except _DAMAGES as error:
        raise UserError(f"{path}: damaged after {last} ({error}); download it again") from error


_DAMAGES = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile),
    *(RuntimeError, NotImplementedError),  # zipfile's, of encryption and compression
)

_Members = Iterator[tuple[str, int, bool, Callable[[], bytes]]]
"""Name, with a slash behind a folder's; size in bytes; whether it is a plain file or folder; reads
the content."""


def _tar_members(path: Path) -> _Members:
    with _Stream(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            name = member.name + "/" * member.isdir()
            is_plain = member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
            file = archive.extractfile(member) if is_plain else None
            yield name, member.size, is_plain, file.read if file else bytes
        stream.seek(archive.offset)  # at a header that it cannot read, tarfile stops silently
        while chunk := stream.read(1024**2):
            if chunk.strip(b"\0"):
                raise tarfile.ReadError("what follows is not a member")


class _Stream(gzip.GzipFile):
    """The inside of a .tar.gz; refuses headers of any length, which tarfile would read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_BYTES:
            raise tarfile.ReadError(f"headers of more than {MAX_BYTES:,} bytes")
        return super().read(size)


def _zip_members(path: Path) -> _Members:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 from systems other than Unix
            is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            read = functools.partial(archive.read, member)
            yield member.filename, member.file_size, is_plain, read


_READERS = {".tar.gz": _tar_members, ".zip": _zip_members}
