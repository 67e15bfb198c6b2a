"""Releases of which the radiographs are still in archives, as people download them."""

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.data import prepare, read_release
from jaxcxr.errors import UserError
from tests.data.conftest import spoil

PNG = "00000001_000.png"


def pack(root: Path, suffix: str = "tar.gz", parts: int = 3, within: str = "images/") -> list[Path]:
    """Moves a release's radiographs into archives, as NIH has them."""
    images = sorted((root / "images").iterdir())
    paths = [root / f"images_{part + 1:03d}.{suffix}" for part in range(parts)]
    for part, path in enumerate(paths):
        if suffix == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.mkdir("images")
                for image in images[part::parts]:
                    archive.write(image, f"{within}{image.name}")
        else:
            with tarfile.open(path, "w" if suffix == "tar" else "w:gz") as archive:
                archive.add(root / "images", "images", recursive=False)
                for image in images[part::parts]:
                    archive.add(image, f"{within}{image.name}")
    shutil.rmtree(root / "images")
    return paths


@pytest.fixture(params=["tar.gz", "zip"])
def packed(make_release, request):
    folder = make_release(patients=20)
    return folder, pack(folder.root, request.param)


@pytest.fixture
def tarred(make_release):
    folder = make_release(patients=20)
    return folder, pack(folder.root)


@pytest.mark.parametrize(
    ("suffix", "place", "within"),
    [("tar.gz", "images", "images/"), ("zip", "data", ""), ("tar", "a/b", "deep/er/")],
)
def test_archives_give_the_dataset_that_folders_give(prepared, tmp_path, suffix, place, within):
    folder, data_dir = prepared
    root = tmp_path / "release"
    shutil.copytree(folder.root, root)
    for path in pack(root, suffix, within=within):
        (root / place).mkdir(exist_ok=True, parents=True)
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


def test_files_in_folders_are_preferred_to_archives(make_release, tmp_path):
    folder = make_release()
    (folder.root / "images_001.tar.gz").write_bytes(b"not read: nothing is missing")
    assert len(read_release(folder.root).image_paths) == 40
    paths = pack(folder.root)
    with tarfile.open(paths[0]) as archive:
        archive.extractall(folder.root, filter="data")
    release = read_release(folder.root)
    assert len(release.image_paths) == 14
    assert len(release.archived) == 26
    assert sum(prepare(release, tmp_path / "out", image_size=16).images.values()) == 40


def test_a_partial_download_of_archives(packed):
    folder, paths = packed
    paths[1].unlink()
    with pytest.raises(UserError, match=r"radiographs without a file \(13\)"):
        read_release(folder.root)
    assert len(read_release(folder.root, allow_missing=True).missing) == 13


def test_a_radiograph_in_two_archives_is_read_from_the_first(packed):
    folder, paths = packed
    copy = paths[0].name.replace("001", "004")
    shutil.copy(paths[0], folder.root / copy)
    release = read_release(folder.root)
    assert release.archived[PNG].archive == paths[0]
    assert release.notes[0].startswith("14 radiographs lie there more than once; the first place")
    assert release.notes[0].endswith(f"of {PNG} {paths[0].name}, not {copy}")


def test_damaged_radiographs_in_archives(make_release, tmp_path):
    folder = make_release()
    spoil(folder.image("00000005_001.png"))
    pack(folder.root)
    release = read_release(folder.root)
    with pytest.raises(UserError, match=r"images_\d{3}.tar.gz/images/00000005_001.png: "):
        prepare(release, tmp_path / "out", image_size=16)
    done = prepare(release, tmp_path / "out", image_size=16, on_bad_image="skip")
    assert list(done.left_out) == ["00000005_001.png"]


def test_cuts_and_flips_of_a_tar_archive_are_reported(tarred):
    folder, (path, *_) = tarred
    complete, rng = path.read_bytes(), np.random.default_rng(0)
    flipped = []
    for position in rng.integers(20, len(complete), 15):
        damaged = bytearray(complete)
        damaged[position] ^= 1 << rng.integers(8)
        flipped.append(bytes(damaged))
    cut = [complete[:end] for end in rng.integers(0, len(complete) - 1, 10)]
    for content in (*flipped, *cut, b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"images_001.tar.gz: damaged .*; download it again"):
            read_release(folder.root)
    path.write_bytes(complete)
    assert len(read_release(folder.root).archived) == 40


def test_damage_of_a_zip_archive_is_reported_with_the_member_before_it(make_release):
    folder = make_release()
    path = pack(folder.root, "zip")[0]
    complete = path.read_bytes()
    path.write_bytes(complete[:-100])
    with pytest.raises(UserError, match=r"images_001.zip: damaged .*; download it again"):
        read_release(folder.root)
    damaged = bytearray(complete)
    damaged[len(complete) // 2] ^= 1  # in the middle of a stored picture
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"images_001.zip: damaged after 'images/.*Bad CRC-32"):
        read_release(folder.root)


def test_other_members_are_passed_over_and_nothing_is_extracted(make_release, tmp_path):
    folder = make_release(patients=5)
    (path,) = pack(folder.root, parts=1)
    complete = io.BytesIO(gzip.decompress(path.read_bytes()))
    with tarfile.open(fileobj=complete) as images, tarfile.open(path, "w:gz") as archive:
        for name, content in (("README.txt", b"notes"), (f"images/._{PNG}", b"of a Mac")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("../99.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for info in images:
            archive.addfile(info, images.extractfile(info) if info.isfile() else None)
    assert len(read_release(folder.root).archived) == 10
    assert {path.name for path in tmp_path.iterdir()} == {"release"}
