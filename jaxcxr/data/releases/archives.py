"""Finding a release's radiographs: in folders, in archives and in parquet files.

Nothing is extracted. An archive is read from its beginning to its end: once to list its
radiographs, and once more for each split that is prepared from it.
"""

from __future__ import annotations

import dataclasses
import os
import tarfile
import textwrap
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from tqdm import tqdm

from jaxcxr.data.releases.parquet import read_parquet_images
from jaxcxr.data.releases.problems import Problems
from jaxcxr.errors import UserError
from jaxcxr.evaluation.fields import stem
from jaxcxr.images.radiograph import DamagedImageError, picture_size
from jaxcxr.images.search import SUFFIXES

Place = TypeVar("Place")


@dataclasses.dataclass(frozen=True)
class ArchivedImage:
    """A radiograph's file in an archive, or its row in a parquet file.

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


def list_files(root: Path) -> list[Path]:
    """Returns the files in a folder and below it, the nearest first; hidden ones are left out.

    Raises:
        UserError: The folder does not exist.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; name the folder of a release")
    found, visited = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in visited else [name for name in folders if _is_shown(name)]
        visited.add(real)
        found += [Path(folder, name) for name in names if _is_shown(name)]
    return sorted(found, key=lambda path: (len(path.parts), path.parts))


def _is_shown(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def find_images(
    files: Sequence[Path], names: Iterable[str], problems: Problems
) -> tuple[dict[str, Path], dict[str, ArchivedImage], list[str]]:
    """Finds radiographs by their names, or else by their names without suffix.

    Archives are read where a radiograph is missing in the folders. Of several files of one name
    the nearest to the release's folder is taken.

    Args:
        files: What `list_files` found.
        names: The radiographs' names by the release's table.
        problems: Where damaged archives are added.

    Returns:
        The files in folders and those in archives by the table's names; notes on what may
        surprise, one line each.
    """
    wanted = list(names)
    in_folders = [path for path in files if path.suffix.lower() in SUFFIXES]
    paths, notes = _matched(in_folders, wanted, lambda path: path.name, str)
    wanted = [name for name in wanted if name not in paths]
    archives = [path for path in files if path.name.lower().endswith(tuple(_READERS))]
    members = list_images(archives, problems) if wanted else []
    archived, more = _matched(members, wanted, lambda image: image.name, lambda it: it.archive.name)
    return paths, archived, notes + more


def _matched(
    places: Sequence[Place],
    wanted: Iterable[str],
    name_of: Callable[[Place], str],
    shown: Callable[[Place], str],
) -> tuple[dict[str, Place], list[str]]:
    """Returns the place of each wanted name that has one, and notes."""
    by_name: dict[str, Place] = {}
    by_stem: dict[str, Place] = {}
    again: dict[str, Place] = {}
    for place in places:
        if by_name.setdefault(name_of(place), place) is not place:
            again.setdefault(name_of(place), place)
        by_stem.setdefault(stem(name_of(place)), place)
    found = {
        name: place
        for name in wanted
        if (place := by_name.get(name) or by_stem.get(stem(name))) is not None
    }
    notes = []
    if repeated := [name for name in again if name in found]:
        name = repeated[0]
        notes.append(
            f"{len(repeated):,} radiographs lie there more than once; the first place is read: "
            f"of {name} {shown(found[name])}, not {shown(again[name])}"
        )
    kinds = Counter(
        os.path.splitext(name_of(place))[1]
        for name, place in found.items()
        if name_of(place) != name
    )
    notes += [
        f"{count:,} radiographs are read from {suffix or 'suffixless'} files in place of those "
        "that the table names"
        for suffix, count in kinds.items()
    ]
    return found, notes


def list_images(archives: Sequence[Path], problems: Problems) -> list[ArchivedImage]:
    """Reads archives to their ends, several at a time, under a progress bar.

    Returns:
        The image files in them, of a damaged archive those before the damage.
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
    """Yields the name and the bytes of each image file in an archive, in the archive's order.

    Raises:
        UserError: The archive cannot be read or is damaged.
    """
    last = "its beginning"
    name = path.name.lower()
    read = next(reader for suffix, reader in _READERS.items() if name.endswith(suffix))
    try:
        for member, content in read(path):
            last = repr(member)
            yield member, content
    except _DAMAGES as error:
        reason = textwrap.shorten(str(error), 200)
        raise UserError(f"{path}: damaged after {last} ({reason}); download it again") from error


_DAMAGES = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile),
    *(RuntimeError, NotImplementedError),  # zipfile's: encrypted, unknown compression
    ValueError,  # pyarrow's
)


def _is_image(member: str) -> bool:
    name = PurePosixPath(member).name
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file and _is_image(member.name):
                yield member.name, file.read()
        stream: Any = archive.fileobj
        stream.seek(archive.offset)  # tarfile stops silently at damage
        if (end := stream.read(tarfile.BLOCKSIZE)) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"no end mark but {end[:8]!r}")
        while stream.read(1024**2):  # to the checksum of a compressed one
            pass


def _read_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in filter(_is_image, archive.namelist()):
            yield member, archive.read(member)


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[str, bytes]]]] = {
    ".tar.gz": _read_tar,
    ".tgz": _read_tar,
    ".tar": _read_tar,
    ".zip": _read_zip,
    ".parquet": read_parquet_images,
}
