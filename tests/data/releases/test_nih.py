import re
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxcxr.data import read_release
from jaxcxr.data.splits import is_nih_test_list
from jaxcxr.errors import UserError
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from tests.data.conftest import HEADER

SHARED = Path(__file__).parents[3] / "../shared"
METADATA = SHARED / "nih_metadata"
SAMPLE = SHARED / "nih_sample"


needs_metadata = pytest.mark.skipif(not METADATA.exists(), reason="no real metadata here")


@pytest.fixture(scope="module")
def real_release():
    start = time.process_time()  # the machine may be busy with other work
    release = read_release(METADATA, require_images=False)
    assert time.process_time() - start < 3
    return release


@needs_metadata
class TestRealMetadata:
    def test_counts_are_the_published_and_independent_ones(self, real_release):
        images = real_release.images
        assert len(images) == 112_120
        assert images["patient"].nunique() == 30_805
        assert images["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
        lists = images["official_split"].value_counts().to_dict()
        assert lists == {"train_val": 86_524, "test": 25_596}
        assert set(images["sex"]) == {"F", "M"}
        text = (METADATA / "Data_Entry_2017_v2020.csv").read_text().splitlines()[1:]
        for finding in FINDINGS:
            expected = sum(finding in line.split(",")[1].split("|") for line in text)
            assert real_release.images[finding].sum() == expected
        healthy = sum(line.split(",")[1] == "No Finding" for line in text)
        assert (real_release.images[list(FINDINGS)].sum(axis="columns") == 0).sum() == healthy

    def test_nihs_test_list_is_known_by_its_names(self, real_release):
        images = real_release.images
        names = images.loc[images["official_split"] == "test", "image_name"]
        assert is_nih_test_list(names[::-1])
        assert is_nih_test_list(names.str.replace(".png", ".jpg"))
        assert not is_nih_test_list(names[1:])

    def test_boxes(self, real_release):
        counts = real_release.boxes["finding"].value_counts()
        expected = dict(zip(BOXED_FINDINGS, (180, 146, 153, 123, 85, 79, 120, 98), strict=True))
        assert counts.to_dict() == expected
        assert real_release.boxes["image_name"].nunique() == 880
        boxed = real_release.images.set_index("image_name").loc[real_release.boxes["image_name"]]
        assert set(boxed["official_split"]) == {"test"}
        first = real_release.boxes.iloc[0]
        assert (first["image_name"], first["finding"]) == ("00013118_008.png", "Atelectasis")
        np.testing.assert_allclose(
            first[["x", "y", "w", "h"]].astype(float), [225.0847, 547.0192, 86.7797, 79.1864], 1e-6
        )


@pytest.mark.skipif(not SAMPLE.exists(), reason="the real sample is not here")
def test_the_real_sample_is_a_release():
    release = read_release(SAMPLE)
    assert len(release.images) == len(release.image_paths) == 130
    assert len(release.boxes) == 6


def test_every_field_is_read(make_release):
    folder = make_release(patients=10)
    release = read_release(folder.root)
    row = release.images.iloc[9]  # patient 5, second radiograph
    assert row["image_name"] == "00000005_001.png"
    assert (row["patient"], row["follow_up"], row["age"]) == (5, 1, 25)
    assert (row["sex"], row["view"], row["official_split"]) == ("M", "AP", "test")
    assert row["list_position"] == 1
    assert row[list(FINDINGS)].sum() == 1
    assert row["Cardiomegaly"] == 1
    assert release.image_paths["00000005_001.png"] == folder.root / "images/00000005_001.png"
    boxes = release.boxes.set_index("image_name")
    assert boxes.loc["00000005_001.png"].tolist() == ["Infiltration", 1.5, 2.5, 10.0, 8.25]
    assert boxes.loc["00000005_000.png", "finding"] == "Mass"


def test_layouts_and_metadata_versions_do_not_matter(make_release):
    official = read_release(make_release("official").root)
    for folder in (make_release("kaggle", kaggle=True), make_release("older", older=True)):
        other = read_release(folder.root)
        pd.testing.assert_frame_equal(official.images, other.images)
        pd.testing.assert_frame_equal(official.boxes, other.boxes)
        assert set(other.image_paths) == set(official.image_paths)
        assert all(path.is_file() for path in other.image_paths.values())


def test_radiographs_without_a_file(make_release):
    folder = make_release()
    folder.image("00000003_000.png").unlink()
    with pytest.raises(UserError, match=r"without a file .*: 00000003_000.png") as caught:
        read_release(folder.root)
    assert caught.value.argument == "allow_missing"
    release = read_release(folder.root, allow_missing=True)
    assert release.missing == {"00000003_000.png": "no file"}
    assert (len(release.images), len(release.image_paths)) == (40, 39)
    shutil.rmtree(folder.root / "images")
    release = read_release(folder.root, require_images=False)
    assert (len(release.images), len(release.image_paths)) == (40, 0)
    for allow_missing in (False, True):
        with pytest.raises(UserError, match=r"radiographs without a file \(40\)"):
            read_release(folder.root, allow_missing=allow_missing)


ONE, BOX = "00000001_000.png", "00000005_000.png"
DAMAGES = {  # the list, a text in it (or its end), what takes its place, and the message
    "list names an image without metadata": (
        *("test", "$", "\n99.png"),
        r"test_list.txt names images without metadata \(1\): 99.png",
    ),
    "metadata in no list": (
        *("train_val", ONE + "\n", ""),
        r"have images that neither train_val_list.txt nor test_list.txt names \(1\): 00000001_000",
    ),
    "unknown finding": ("metadata", "Hernia,", "Gout,", r"labels other than findings .*'Gout'"),
    "a finding and none": (
        *("metadata", "Hernia,", "Hernia|No Finding,"),
        r"values of labels other than findings .*'Hernia\|No Finding'",
    ),
    "unknown finding of a box": (
        *("boxes", "Infiltrate", "Infiltrat"),
        r"BBox_List_2017.csv has values of finding other than .* 00000005_001.png 'Infiltrat'",
    ),
    "box outside": (
        *("boxes", f"{BOX},Mass,38.4", f"{BOX},Mass,800"),
        r"boxes outside their image \(1\): 00000005_000.png Mass at \(800, 64, 256, 211\.2\)",
    ),
    "box left of the image": (
        *("boxes", f"{BOX},Mass,38.4", f"{BOX},Mass,-1.5"),
        r"boxes outside their image \(1\)",
    ),
    "flat box": (
        *("boxes", "00000010_000.png,Mass,38.4,64,256", "00000010_000.png,Mass,1,2,0"),
        r"boxes of zero area \(1\): 00000010_000.png Mass",
    ),
    "box without numbers": (
        *("boxes", "00000010_000.png,Mass,38.4", "00000010_000.png,Mass,nan"),
        r"values of x other than a number \(1\): 00000010_000.png 'nan'",
    ),
    "box on an unknown image": (
        *("boxes", "00000010_000.png", "77.png"),
        r"boxes on images without metadata \(1\): 77.png",
    ),
    "image twice in the metadata": (
        *("metadata", "$", f"{ONE},Mass,0,1,21,M,PA,2500,2048,0.168,0.168"),
        r"Data_Entry_2017_v2020.csv lists images more than once \(1\): 00000001_000.png",
    ),
    "image twice in a list": (
        *("test", "$", f"\n{BOX}"),
        r"test_list.txt lists images more than once \(1\): 00000005_000.png",
    ),
    "image in both lists": ("train_val", "$", f"\n{BOX}", r"share images \(1\): 00000005_000.png"),
    "patient in both lists": ("metadata", ",0,5,25,", ",0,1,25,", r"share patients \(1\): 1$"),
    "wrong age": (
        *("metadata", ",1,21,M,", ",1,young,M,"),
        r"values of age other than a number .* \(2\): 00000001_000.png 'young'",
    ),
    "name that leaves the folder": (
        *("metadata", ONE, f"../{ONE}"),
        r"names that no image file can have \(1\): '../00000001_000.png'",
    ),
}


def damage(folder, name: str) -> str:
    """Damages a list; returns the message."""
    file, old, new, message = DAMAGES[name]
    path = getattr(folder, file)
    if old == "$":
        path.write_text(path.read_text() + new)
    else:
        folder.edit(path, old, new)
    return message


@pytest.mark.parametrize("name", DAMAGES)
def test_each_contradiction_is_reported(make_release, name):
    folder = make_release()
    with pytest.raises(UserError, match=damage(folder, name)) as caught:
        read_release(folder.root)
    assert str(caught.value).startswith(f"{folder.root}: ")


def test_all_contradictions_are_reported_together(make_release):
    folder = make_release()
    folder.image("00000007_000.png").unlink()
    messages = [
        *(damage(folder, name) for name in ("unknown finding", "flat box", "box outside")),
        r"radiographs without a file \(1\): 00000007_000.png",
    ]
    with pytest.raises(UserError, match="4 problems in this release") as caught:
        read_release(folder.root)
    assert all(re.search(message, str(caught.value)) for message in messages)
    assert len(str(caught.value).splitlines()) == 5


def test_files_that_are_no_pictures_are_reported(make_release):
    folder = make_release()
    for path in (folder.root / "images").iterdir():
        path.rename(path.with_suffix(".raw"))
    with pytest.raises(UserError, match=r"and 30 more; found there: images/ 40 \.raw$"):
        read_release(folder.root)


def test_only_patients_in_both_lists_are_said_to_be_shared(make_release):
    folder = make_release()
    text = folder.metadata.read_text()
    folder.metadata.write_text(re.sub(r",(\d+),(\d\d),([FM])", r",P-\1,\2,\3", text))
    assert read_release(folder.root).images["patient"].iloc[9] == "P-5"
    folder.edit(folder.test, "00000005_000.png\n", "")
    folder.train_val.write_text(folder.train_val.read_text() + "\n00000005_000.png")
    with pytest.raises(UserError, match=r"share patients \(1\): P-5"):
        read_release(folder.root)


def test_two_versions_of_the_labels_are_reported(make_release):
    folder = make_release()
    older = make_release("older", older=True)
    older.edit(older.metadata, "Hernia,0,3,", "Mass,0,3,")
    older.edit(older.metadata, "No Finding,1,4,", "Mass,1,4,")
    shutil.copy(older.metadata, folder.root)
    release = read_release(folder.root, require_images=False)
    assert release.images["Hernia"].to_numpy()[4] == 1
    (note,) = release.notes
    assert "read from Data_Entry_2017_v2020.csv; Data_Entry_2017.csv is there, too, with" in note
    assert note.endswith("other labels on 2 of 40 radiographs")
    (folder.root / "Data_Entry_2017.csv").write_text("")
    (note,) = read_release(folder.root, require_images=False).notes
    assert note.endswith("and cannot be read")


def test_one_image_in_two_folders_is_read_from_the_first(make_release):
    folder = make_release(kaggle=True)
    path = folder.image("00000001_000.png")
    (folder.root / "images").mkdir()
    shutil.copy(path, folder.root / "images")
    release = read_release(folder.root)
    first = folder.root / "images/00000001_000.png"
    assert release.image_paths[first.name] == first
    assert release.notes[0] == (
        "1 radiographs lie there more than once; the first place is read: of 00000001_000.png "
        f"{first}, not {path}"
    )


def test_what_a_release_holds_is_reported_where_it_is_missing(make_release, tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder; name the folder of a release"):
        read_release(tmp_path / "nowhere")
    folder = make_release()
    folder.metadata.unlink()
    with pytest.raises(UserError, match=r"release: no table of labels; .* found there: images/ 40"):
        read_release(folder.root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,labels\n1.png,Mass\n", "begins with 'name,labels'; expected columns Image Index"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (HEADER.encode() + b"\n1.png,Mass\0,", "NUL bytes"),
        (HEADER.encode() + b'\n1.png,"Mass,0,1,60,M,PA\n', "not a valid CSV file"),
        (HEADER.encode() + b"\n", r"train_val_list.txt names images without metadata .*\(32\)"),
    ],
)
def test_metadata_that_is_not_a_table(make_release, content, message):
    folder = make_release()
    folder.metadata.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_release(folder.root)


def test_a_box_list_of_a_header_alone_has_no_boxes(make_release):
    release = make_release()
    release.boxes.write_text(release.boxes.read_text().splitlines()[0])
    assert read_release(release.root, require_images=False).boxes.empty


def test_names_are_shown_without_control_characters_and_cut(make_release):
    release = make_release()
    release.test.write_text(release.test.read_text() + "\n\x1b[2J.png\n" + 9000 * "a")
    with pytest.raises(UserError, match="has names that no image file can have") as caught:
        read_release(release.root)
    assert r"\x1b[2J.png" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000
