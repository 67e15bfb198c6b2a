"""Phantoms: the same bytes for a seed, boxes on their signs, releases that read as NIH's."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data.phantom import draw_radiograph, plan_release, write_release
from jaxcxr.data.phantom.release import BOX_HEADER, DATA_ENTRY_HEADER
from jaxcxr.data.releases.sources import read_release
from jaxcxr.errors import UserError
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS

REPOSITORY = Path(__file__).parents[2]
METADATA = REPOSITORY / "../shared/nih_metadata"


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "release"
    assert write_release(out, 60, 64, seed=5, jobs=1)
    return out


def test_seed_decides_every_byte_whatever_the_jobs(release, tmp_path):
    write_release(tmp_path / "again", 60, 64, seed=5, jobs=2)
    assert digests(tmp_path / "again") == digests(release)
    write_release(tmp_path / "other", 60, 64, seed=6, jobs=1)
    assert digests(tmp_path / "other") != digests(release)


def test_release_reads_as_one_of_nih(release):
    read = read_release(release)
    assert len(read.images) == 60
    assert set(read.images["official_split"]) == {"train_val", "test"}
    test = set(read.images.loc[read.images["official_split"] == "test", "image_name"])
    assert set(read.boxes["image_name"]) <= test
    patients = read.images.groupby("patient")["official_split"].nunique()
    assert (patients == 1).all()
    assert json.loads((release / "phantom.json").read_text())["synthetic"] is True
    with Image.open(next((release / "images").iterdir())) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (64, 64))


def test_every_boxed_finding_of_the_test_list_has_its_box(release):
    read = read_release(release)
    test = read.images.loc[read.images["official_split"] == "test"]
    expected = {
        (row.image_name, finding)
        for row in test.itertuples()
        for finding in BOXED_FINDINGS
        if getattr(row, finding)
    }
    assert set(zip(read.boxes["image_name"], read.boxes["finding"], strict=True)) == expected


@pytest.mark.skipif(not METADATA.exists(), reason="the real metadata are not beside the checkout")
def test_headers_are_those_of_nih():
    for name, header in (
        ("Data_Entry_2017_v2020.csv", DATA_ENTRY_HEADER),
        ("BBox_List_2017.csv", BOX_HEADER),
    ):
        with open(METADATA / name, encoding="utf-8") as file:
            assert file.readline().rstrip("\r\n") == header


@pytest.mark.parametrize("size", [64, 200])
@pytest.mark.parametrize("finding", FINDINGS)
def test_each_sign_changes_the_image_and_lies_in_its_box(finding, size):
    healthy = draw_radiograph([], image_size=size, seed=11)
    sick = draw_radiograph([finding], image_size=size, seed=11)
    assert sick.image.shape == (size, size)
    assert sick.image.dtype == np.uint8
    assert not np.array_equal(sick.image, healthy.image)
    assert set(sick.boxes) == ({finding} & set(BOXED_FINDINGS))
    for x, y, w, h in sick.boxes.values():
        assert min(x, y) >= 0
        assert min(w, h) >= 2
        assert max(x + w, y + h) <= size


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("finding", ["Mass", "Nodule", "Pneumonia", "Effusion", "Infiltration"])
def test_what_a_sign_changes_lies_in_its_box(finding, seed):
    healthy = draw_radiograph([], image_size=256, seed=seed).image.astype(int)
    sick = draw_radiograph([finding], image_size=256, seed=seed)
    change = np.abs(sick.image - healthy)
    x, y, w, h = map(int, sick.boxes[finding])
    inside = np.zeros((256, 256), bool)
    inside[max(0, y - 4) : y + h + 4, max(0, x - 4) : x + w + 4] = True
    assert change[inside].sum() > 0.75 * change.sum()
    assert change[inside].mean() > 3


def test_frequencies_are_as_documented():
    plans = plan_release(6000, seed=0)
    share = {name: np.mean([name in plan.findings for plan in plans]) for name in FINDINGS}
    assert all(0.06 < value < 0.13 for value in share.values()), share
    assert 0.32 < np.mean([not plan.findings for plan in plans]) < 0.38
    assert 0.24 < np.mean([plan.in_test for plan in plans]) < 0.27
    together = [p for p in plans if "Cardiomegaly" in p.findings]
    assert np.mean(["Effusion" in p.findings for p in together]) > 2 * share["Effusion"]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((8, 63, 0), "image_size is 63; phantoms have 64 to 1024 pixels"),
        ((0, 64, 0), "images is 0"),
        ((8, 64, -1), "seed is -1"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, numbers, message):
    with pytest.raises(UserError, match=message):
        write_release(tmp_path / "out", *numbers)
    assert list(tmp_path.iterdir()) == []


def test_finished_release_is_reused_and_anything_else_refused(release, tmp_path):
    assert not write_release(release, 60, 64, seed=5)
    with pytest.raises(UserError, match="remove it or name another"):
        write_release(release, 60, 64, seed=6)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="remove it or name another"):
        write_release(tmp_path / "mine", 60, 64, seed=5)


def test_unknown_finding_is_named():
    with pytest.raises(UserError, match="'Flu' is not a finding"):
        draw_radiograph(["Flu"], image_size=64, seed=0)
