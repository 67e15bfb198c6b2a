"""Apache Beam's direct runner makes the records that threads make."""

import shutil

import numpy as np
import pytest

from jaxcxr.data import load, prepare, read_release
from jaxcxr.errors import UserError
from tests.data.conftest import spoil

pytest.importorskip("apache_beam")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Beam's own


def test_beam_makes_the_records_of_the_local_way(prepared, tmp_path):
    """The radiographs are PNG files and members of an archive."""
    folder, here = prepared
    root = shutil.copytree(folder.root, tmp_path / folder.root.name)
    names = [f"{patient:08d}_000.png" for patient in range(1, 34)]
    (tmp_path / "images").mkdir()
    for name in names:
        shutil.move(root / "images" / name, tmp_path / "images")
    shutil.make_archive(str(root / "images_001"), "gztar", tmp_path, "images")
    release = read_release(root)
    assert sorted(release.archived) == names
    prepare(release, tmp_path / "out", image_size=32, beam_runner="DirectRunner")
    ours, theirs = load(tmp_path / "out", image_size=32), load(here, image_size=32)
    assert ours.facts == theirs.facts
    for name in ("train", "validation", "test"):
        one, other = getattr(ours, name), getattr(theirs, name)
        for some, others in zip(one.batches(16), other.batches(16), strict=True):
            for field in some:
                np.testing.assert_array_equal(some[field], others[field], strict=True)
        assert one.boxes().equals(other.boxes())


def test_beam_names_a_damaged_file_and_leaves_none_out(make_release, tmp_path):
    folder = make_release(patients=10)
    spoil(folder.image("00000003_001.png"))
    release, runner = read_release(folder.root), {"beam_runner": "DirectRunner"}
    with pytest.raises(UserError, match=r"^\S*/00000003_001.png: damaged .*; export it again$"):
        prepare(release, tmp_path / "out", image_size=32, **runner)
    assert not list(tmp_path.rglob("*.tfrecord*"))
    with pytest.raises(UserError, match="Beam cannot leave out damaged files"):
        prepare(release, tmp_path / "out", on_bad_image="skip", **runner)
