"""Reading a release's archives, images_001.tar.gz … or .zip, without extracting them.

An archive is read from its beginning to its end: once to list its radiographs, and once more for
each split that is prepared from it. Nothing is written to the disk.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from jaxcxr.data.releases.problems import Problems
from jaxcxr.errors import UserError
from jaxcxr.images.radiograph import DamagedImageError, picture_size


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
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(self.member).name


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
        UserError: The archive cannot be read or is damaged.
    """
    last = "its beginning"
    read = next(reader for suffix, reader in _READERS.items() if path.name.endswith(suffix))
    try:
        for name, content in read(path):
            last = repr(name)
            yield name, content
    except _DAMAGES as error:
        raise UserError(f"{path}: damaged after {last} ({error}); download it again") from error


_DAMAGES = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile),
    *(RuntimeError, NotImplementedError),  # zipfile's, of encryption and compression
)


def _is_image(member: str) -> bool:
    name = PurePosixPath(member).name
    return name.lower().endswith(".png") and not name.startswith(".")


def _read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file and _is_image(member.name):
                yield member.name, file.read()
        while stream.read(1024**2):  # to the checksum: tarfile stops silently at damage
            pass


def _read_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in filter(_is_image, archive.namelist()):
            yield member, archive.read(member)


_READERS = {".tar.gz": _read_tar, ".zip": _read_zip}
