"""Reading the official archives images_001.tar.gz … as they are, without extracting them.

An archive is read from its beginning to its end: once to see what it holds, and once more for each
split that is prepared from it. Nothing of it is written to the disk, so that no name in it can lead
anywhere; names and kinds of members that a release has no use for are refused all the same.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from jaxcxr.data.releases.problems import Problem
from jaxcxr.errors import UserError
from jaxcxr.images.radiograph import DamagedImageError, find_damage, picture_size

MAX_BYTES = 64 * 1024**2
"""Largest member and headers that are read, in bytes; a radiograph's file has half a million."""

MAX_MEMBERS = 200_000
"""Most members of an archive; an official one has 10,000, the complete release 112,120."""


@dataclasses.dataclass(frozen=True)
class ArchivedImage:
    """A radiograph's PNG file in an archive.

    Attributes:
        archive: The archive's file.
        member: Its name there, "images/00000001_000.png".
        png_size: Width and height in pixels by its header; None where that is damaged.
        damage: What is wrong with it, as far as that shows without decoding; None where nothing.
    """

    archive: Path
    member: str
    png_size: tuple[int, int] | None
    damage: str | None

    @property
    def path(self) -> Path:
        """What messages call it: the archive's path, and its name there."""
        return self.archive / self.member

    @property
    def image_name(self) -> str:
        """Name of the radiograph."""
        return PurePosixPath(self.member).name


def find_archives(root: Path) -> list[Path]:
    """Returns the archives in a release's folder, and in images/, where NIH has them."""
    places = (root, root / "images")
    return [path for place in places for path in sorted(place.glob("images*.tar.gz"))]


def list_images(archives: Sequence[Path]) -> tuple[list[ArchivedImage], list[Problem]]:
    """Reads archives to their ends, several at a time, under a progress bar.

    Returns:
        The PNG files in them, of a damaged one those before the damage; and what is wrong with
        archives: those that are damaged or hold what no release does.
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
    return found, [Problem("archives that cannot be read", sorted(refused))]


def _archived_image(archive: Path, member: str, content: bytes) -> ArchivedImage:
    path = archive / member
    damage = find_damage(path, content)
    try:
        size = picture_size(path, content)
    except DamagedImageError:
        size = None
    return ArchivedImage(archive, member, size, damage.reason if damage else None)


def read_images(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the bytes of each PNG file in an archive, in the archive's order.

    Raises:
        UserError: The archive cannot be read, is damaged, or holds what no release does: a member
            with an absolute path or `..`, a link, a device, more than `MAX_BYTES` bytes.
    """
    last = "its beginning"
    try:
        with _Stream(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for count, member in enumerate(archive):
                _check_member(path, member, count)
                last = repr(member.name)
                if member.isfile() and _is_png(member.name):
                    stream.allow(member.size)
                    stream.seek(member.offset_data)
                    content = stream.read(member.size)
                    if len(content) < member.size:
                        raise EOFError("cut off")
                    yield member.name, content
                stream.allow(MAX_BYTES)
            if stream.holds_more():
                raise tarfile.ReadError("what follows is not a member")
    except gzip.BadGzipFile as error:
        raise UserError(
            f"{path}: {error}, after {last}: damaged, or not compressed by gzip; download it again"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: {reason}, after {last}; download it again") from error
    except (EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{path}: damaged after {last} ({error}); download it again") from error


class _Stream(gzip.GzipFile):
    """The inside of an archive, of which tarfile gets no more than is allowed.

    The headers of a member may claim any length; tarfile would read it into memory.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._allowed = MAX_BYTES
        self._latest = b""

    def allow(self, size: int) -> None:
        """Lets that many bytes be read."""
        self._allowed = size

    def read(self, size: int | None = -1) -> bytes:
        """Reads as files do."""
        if size is None or not 0 <= size <= self._allowed:
            raise tarfile.ReadError(f"headers of more than {MAX_BYTES:,} bytes")
        self._allowed -= size
        self._latest = super().read(size)
        return self._latest

    def holds_more(self) -> bool:
        """Reads to the end, so that the checksum is compared; returns whether there is data.

        At a header that it cannot read, tarfile stops as it does at the zeros that end an archive.
        """
        more = self._latest.strip(b"\0")
        while chunk := super().read(1024**2):
            more = more or chunk.strip(b"\0")
        return bool(more)


def _check_member(path: Path, member: tarfile.TarInfo, count: int) -> None:
    """Refuses what no release has in an archive."""
    place = PurePosixPath(member.name)
    if place.is_absolute() or ".." in place.parts or "\\" in member.name:
        problem = "a path that leads out of the archive"
    elif member.issym() or member.islnk():
        problem = f"a link to {member.linkname!r}"
    elif not member.isdir() and member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        problem = "a device, a pipe or another special file"
    elif not 0 <= member.size <= MAX_BYTES:
        problem = f"{member.size:,} bytes; expected {MAX_BYTES:,} at most"
    elif count >= MAX_MEMBERS:
        problem = f"more than {MAX_MEMBERS:,} members come before it"
    else:
        return
    raise UserError(
        f"{path} has {member.name!r}: {problem}; that is not an archive of NIH's, download it again"
    )


def _is_png(member: str) -> bool:
    name = PurePosixPath(member).name
    return name.lower().endswith(".png") and not name.startswith(".")
