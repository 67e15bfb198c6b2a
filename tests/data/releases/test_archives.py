"""Releases of which the radiographs are still in NIH's archives."""

import gzip
import io
import re
import shutil
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.data import load, prepare, read_release
from jaxcxr.data.releases import archives
from jaxcxr.errors import UserError

PNG = "00000001_000.png"


def pack(root: Path, parts: int = 3) -> list[Path]:
    """Moves a release's radiographs into archives, as NIH has them."""
    images = sorted((root / "images").iterdir())
    paths = []
    for part in range(parts):
        paths.append(root / f"images_{part + 1:03d}.tar.gz")
        with tarfile.open(paths[-1], "w:gz", compresslevel=1) as archive:
            archive.add(root / "images", "images", recursive=False)
            for path in images[part::parts]:
                archive.add(path, f"images/{path.name}")
    shutil.rmtree(root / "images")
    return paths


@pytest.fixture
def packed(make_release):
    folder = make_release(patients=20)
    return folder, pack(folder.root)


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Returns an archive of whatever members."""
    complete = io.BytesIO()
    with tarfile.open(fileobj=complete, mode="w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return complete.getvalue()


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


@pytest.mark.parametrize("place", [".", "images"])
def test_archives_give_the_dataset_that_folders_give(prepared, tmp_path, place):
    folder, data_dir = prepared
    root = tmp_path / "release"
    shutil.copytree(folder.root, root)
    for path in pack(root):
        (root / place).mkdir(exist_ok=True)
        path.rename(root / place / path.name)
    release = read_release(root)
    assert not release.image_paths
    assert len(release.archived) == 100
    done = prepare(release, tmp_path / "datasets", image_size=32)
    assert not done.left_out
    ours, theirs = (
        {path.name: path.read_bytes() for path in (place / "chest_xray14/32/1.0.0").iterdir()}
        for place in (tmp_path / "datasets", data_dir)
    )
    assert ours == theirs
    assert prepare(release, data_dir, image_size=32).reused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["datasets", "release"]


@pytest.mark.filterwarnings("ignore")  # of Beam's own
def test_beam_reads_archives(packed, tmp_path):
    release = read_release(packed[0].root)
    for name, engine in (("threads", None), ("beam", "DirectRunner")):
        prepare(release, tmp_path / name, image_size=16, beam_runner=engine)
    ours, theirs = (load(tmp_path / name, 16).train for name in ("beam", "threads"))
    for some, others in zip(ours.batches(8), theirs.batches(8), strict=True):
        np.testing.assert_array_equal(some["image"], others["image"])
        np.testing.assert_array_equal(some["image_name"], others["image_name"])


def test_boxes_are_compared_with_the_radiographs_in_archives(packed):
    folder, _ = packed
    folder.edit(folder.boxes, "00000005_000.png,Mass,38.4", "00000005_000.png,Mass,800")
    with pytest.raises(UserError, match=r"boxes outside their image \(1\): 00000005_000.png Mass"):
        read_release(folder.root)


def test_complete_folders_spare_the_archives(make_release, monkeypatch):
    """Who extracted everything and kept the archives does not wait for 42 GB to be read."""
    folder = make_release()
    (folder.root / "images_001.tar.gz").write_bytes(b"not looked at")
    assert len(read_release(folder.root).image_paths) == 40
    assert not read_release(folder.root).archived


def test_what_folders_lack_comes_from_archives(packed, tmp_path):
    folder, paths = packed
    with tarfile.open(paths[0]) as archive:
        archive.extractall(folder.root, filter="data")
    release = read_release(folder.root)
    assert len(release.image_paths) == 14
    assert len(release.archived) == 26
    assert sum(prepare(release, tmp_path / "out", image_size=16).images.values()) == 40


def test_a_partial_download_of_archives(packed):
    folder, paths = packed
    paths[1].unlink()
    with pytest.raises(UserError, match=r"radiographs without a PNG file .*\(13\)"):
        read_release(folder.root)
    assert len(read_release(folder.root, allow_missing=True).missing) == 13


def test_a_damaged_archive_is_read_up_to_the_damage(packed):
    folder, paths = packed
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[: len(content) // 2])
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        held = sum(member.isfile() for member in archive)
    with pytest.raises(UserError, match="archives that cannot be read") as raised:
        read_release(folder.root)
    lost = int(re.search(r"without a PNG file .*\((\d+)\)", str(raised.value))[1])
    assert 0 < lost < held


def test_an_archive_that_is_not_compressed_is_reported(packed):
    folder, paths = packed
    paths[0].write_bytes(gzip.decompress(paths[0].read_bytes()))
    with pytest.raises(UserError, match=r"images_001\.tar\.gz: .*not compressed by gzip"):
        read_release(folder.root)


def test_a_radiograph_in_two_archives_is_reported(packed):
    folder, paths = packed
    shutil.copy(paths[0], folder.root / "images_004.tar.gz")
    with pytest.raises(
        UserError, match=rf"lie twice in archives \(14\): {PNG} in images_004.tar.gz, "
    ):
        read_release(folder.root)


def test_damaged_radiographs_in_archives(make_release, tmp_path):
    folder = make_release()
    short, spoiled = folder.image(PNG), folder.image("00000005_001.png")
    short.write_bytes(short.read_bytes()[:-50])
    pack(folder.root)
    with pytest.raises(UserError, match=rf"images_001.tar.gz/images/{PNG}: "):
        prepare(read_release(folder.root), tmp_path / "out", image_size=16)

    folder = make_release("other")
    spoiled = folder.image("00000005_001.png")
    content = bytearray(spoiled.read_bytes())
    content[100] ^= 255  # which only decoding shows
    spoiled.write_bytes(content)
    pack(folder.root)
    release = read_release(folder.root)
    with pytest.raises(UserError, match=r"images_\d{3}.tar.gz/images/00000005_001.png: "):
        prepare(release, tmp_path / "out", image_size=16)
    assert not (tmp_path / "out").exists()
    done = prepare(release, tmp_path / "out", image_size=16, on_bad_image="skip")
    assert list(done.left_out) == ["00000005_001.png"]


def says_the_same(one: bytes, other: bytes) -> bool:
    try:
        return gzip.decompress(one) == gzip.decompress(other)
    except (OSError, EOFError, zlib.error):
        return False


def test_every_cut_and_every_flip_of_an_archive_is_reported(packed):
    folder, (path, *_) = packed
    complete, rng = path.read_bytes(), np.random.default_rng(0)
    names = len(read_release(folder.root).archived)
    for cut in rng.integers(0, len(complete) - 1, 15):
        path.write_bytes(complete[:cut])
        with pytest.raises(UserError, match=r"images_001.tar.gz: .*; download it again"):
            read_release(folder.root)
    begin = complete.index(b"\0", 10) + 1  # before, gzip's header holds a time and a name
    reported = 0
    for position in rng.integers(begin, len(complete), 40):
        damaged = bytearray(complete)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        if says_the_same(damaged, complete):  # one of the few bits between blocks that mean nothing
            continue
        reported += 1
        with pytest.raises(UserError, match=r"images_001.tar.gz: .*; download it again"):
            read_release(folder.root)
    assert reported > 35
    path.write_bytes(complete)
    assert len(read_release(folder.root).archived) == names


def test_a_header_that_cannot_be_read_is_not_the_end(packed):
    """Where tarfile stops without a word: within a gzip file whose own checksum is right."""
    folder, (path, *_) = packed
    content = bytearray(gzip.decompress(path.read_bytes()))
    with tarfile.open(path) as archive:
        third = archive.getmembers()[3]
    content[third.offset + 1] ^= 1
    path.write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match=r"damaged after 'images/\d.*\.png' \(what follows is not"):
        read_release(folder.root)


def test_all_archives_that_cannot_be_read_are_reported_together(packed):
    folder, paths = packed
    paths[0].write_bytes(b"<html>not found</html>")
    paths[2].write_bytes(paths[2].read_bytes()[:-100])
    with pytest.raises(UserError, match=r"archives that cannot be read \(2\): ") as caught:
        read_release(folder.root)
    assert "images_001.tar.gz: Not a gzipped file" in str(caught.value)
    assert "images_003.tar.gz: damaged after 'images/" in str(caught.value)


HOSTILE = {
    "up": (member(f"../{PNG}", b"x"), "a path that leads out of the archive"),
    "up within": (member(f"images/../../{PNG}", b"x"), "a path that leads out of the archive"),
    "absolute": (member(f"/etc/{PNG}", b"x"), "a path that leads out of the archive"),
    "backslashes": (member(f"..\\{PNG}", b"x"), "a path that leads out of the archive"),
    "symbolic link": (
        member(f"images/{PNG}", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "a link to '/etc/passwd'",
    ),
    "hard link": (
        member(f"images/{PNG}", type=tarfile.LNKTYPE, linkname="../../secret"),
        "a link to '../../secret'",
    ),
    "device": (member(f"images/{PNG}", type=tarfile.CHRTYPE, devmajor=1), "a device, a pipe or"),
    "pipe": (member(f"images/{PNG}", type=tarfile.FIFOTYPE), "a device, a pipe or"),
    "sparse file": (member(f"images/{PNG}", type=tarfile.GNUTYPE_SPARSE), "a device, a pipe or"),
    "huge": (member(f"images/{PNG}", size=2**40), "1,099,511,627,776 bytes; expected 67,108,864"),
    "huge note": (member("README.txt", size=2**40), "1,099,511,627,776 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_members_that_no_release_has_are_refused(packed, name):
    folder, (path, *_) = packed
    (info, content), problem = HOSTILE[name]
    complete = info.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0") + bytes(1024)
    path.write_bytes(gzip.compress(complete))
    with pytest.raises(UserError, match="that is not an archive of NIH's") as caught:
        read_release(folder.root)
    assert f"images_001.tar.gz has {info.name!r}: {problem}" in str(caught.value)
    assert {place.name for place in folder.root.iterdir()} >= {path.name}
    assert not (folder.root / "images").exists()


def test_headers_of_any_length_are_not_read_into_memory(packed):
    folder, (path, *_) = packed
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        header, _ = member("x", type=kind, size=2**40)
        path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
        with pytest.raises(UserError, match="headers of more than 67,108,864 bytes"):
            read_release(folder.root)


def test_no_end_of_members_is_counted(packed, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    with pytest.raises(UserError, match="more than 10 members come before it"):
        read_release(packed[0].root)


def test_other_members_are_passed_over(make_release):
    folder = make_release(patients=5)
    (path,) = pack(folder.root, parts=1)
    content = gzip.decompress(path.read_bytes())
    more = tar(member("README.txt", b"notes" * 300), member(f"images/._{PNG}", b"of a Mac"))
    path.write_bytes(gzip.compress(more[: 512 * 6] + content))
    assert struct.unpack("5s", more[512:517]) == (b"notes",)
    release = read_release(folder.root)
    assert len(release.archived) == 10


def test_an_archive_that_changes_meanwhile_is_reported(packed, tmp_path):
    folder, paths = packed
    release = read_release(folder.root)
    shutil.copy(paths[1], paths[0])
    with pytest.raises(UserError, match=r"images_001.tar.gz was changed while it was being read"):
        prepare(release, tmp_path / "out", image_size=16)
    assert not (tmp_path / "out").exists()
