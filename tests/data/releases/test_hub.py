"""NIH's radiographs as the Hugging Face hub and GitHub have them, in small files of that form.

The columns are those of timm/nih-chest-xray-14 (data/train-00000-of-00032.parquet …) and the names
those of MichaelNoya/nih-chest-xray-webdataset-subset (datasets/ChestXray14_train_000.tar …,
labels/train_labels.csv …).
"""

import io
import json
import tarfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxcxr.data import load, prepare, read_release
from jaxcxr.data.splits import split_by_patient
from jaxcxr.findings import FINDINGS
from tests.data.conftest import write_release


@pytest.fixture(scope="module")
def nih(tmp_path_factory):
    return read_release(write_release(tmp_path_factory.mktemp("nih") / "nih").root)


def labels_of(row):
    return [finding for finding in FINDINGS if row[finding]]


def write_parquet(root, release, columns):
    """Writes the radiographs of each list into a file; `columns` makes those beside the image."""
    for split, part in release.images.groupby("official_split"):
        paths = [release.image_paths[name] for name in part["image_name"]]
        images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
        names = ["No Finding", *FINDINGS] if "label" in columns(part.iloc[0]) else [*FINDINGS]
        kinds = {"labels": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "List"}}
        table = pa.Table.from_pylist(
            [
                {"image": image} | columns(row)
                for image, (_, row) in zip(images, part.iterrows(), strict=True)
            ]
        ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": kinds}})})
        path = root / f"data/{split.replace('_val', '')}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=3)


def timm(row):
    return {
        "image_id": row["image_name"].removesuffix(".png"),
        "labels": [FINDINGS.index(label) for label in labels_of(row)],
        "label_names": labels_of(row),
        "fold": 1,
        "patient_id": row["patient"],
        "follow_up": row["follow_up"],
        "patient_age": row["age"],
        "patient_sex": row["sex"],
        "view_position": row["view"],
        "original_width": 2500,
        "original_height": 2048,
    }


def by_number(row):
    """Labels as numbers alone, whose names the file's metadata have."""
    names = timm(row)
    return {name: names[name] for name in ("image_id", "labels", "patient_id", "patient_age")}


def test_parquet_files_give_what_the_release_gives(tmp_path, nih):
    write_parquet(tmp_path, nih, timm)
    release = read_release(tmp_path)
    ours = release.images.set_index("image_name").sort_index().drop(columns="list_position")
    theirs = nih.images.drop(columns="list_position").set_index("image_name").sort_index()
    pd.testing.assert_frame_equal(ours, theirs.rename(index=lambda name: name[:-4]))
    assert release.notes[0].endswith("the splits are those in the names of the files")
    prepare(release, tmp_path / "ours", image_size=16)
    prepare(nih, tmp_path / "theirs", image_size=16)
    ours, theirs = (
        load(tmp_path / name, 16).test.in_memory().fields for name in ("ours", "theirs")
    )
    place = {name: row for row, name in enumerate(theirs["image_name"])}
    rows = [place[f"{name}.png"] for name in ours["image_name"]]
    for name in ("image", "labels", "patient", "age", "sex", "view"):
        assert (ours[name] == theirs[name][rows]).all()


def test_numbers_of_labels_take_their_names_from_the_file(tmp_path, nih):
    write_parquet(tmp_path, nih, by_number)
    images = read_release(tmp_path).images.set_index("image_name")
    expected = nih.images.set_index(nih.images["image_name"].str.removesuffix(".png"))
    assert images[[*FINDINGS]].equals(expected.loc[images.index, [*FINDINGS]])


def test_images_without_names_are_numbered(tmp_path, nih):
    write_parquet(tmp_path, nih, lambda row: {"label": labels_of(row) or ["No Finding"]})
    names = read_release(tmp_path).images["image_name"]
    assert names.isin(nih.images["image_name"]).all()  # by the paths of the images
    table = pq.read_table(tmp_path / "data/test-00000-of-00001.parquet")
    images = [{"bytes": image["bytes"], "path": None} for image in table["image"].to_pylist()]
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    pq.write_table(table.set_column(0, "image", [images]), tmp_path / "xrays.parquet")
    release = read_release(tmp_path)
    assert release.images["image_name"].tolist() == [f"xrays_{row:06d}" for row in range(8)]
    assert len(release.archived) == 8
    assert release.notes[0].endswith("8 have none, and count as a patient each")


def test_nihs_lists_and_boxes_beside_parquet_files_are_used(tmp_path, nih):
    write_parquet(tmp_path, nih, timm)
    for name in ("train_val_list.txt", "test_list.txt", "BBox_List_2017.csv"):
        (tmp_path / name).write_bytes((nih.root / name).read_bytes())
    release = read_release(tmp_path)
    assert len(release.boxes) == 4
    assert release.boxes["image_name"].isin(release.images["image_name"]).all()
    assert release.boxes[["x", "y", "w", "h"]].equals(nih.boxes[["x", "y", "w", "h"]])


@pytest.fixture
def webdataset(tmp_path, nih):
    """Three splits of whole patients; members are an image and labels in a pickle each."""
    root = tmp_path / "subset"
    (root / "labels").mkdir(parents=True)
    (root / "datasets").mkdir()
    patients = nih.images["patient"]
    for split, chosen in {
        "train": patients > 8,
        "val": patients < 3,
        "test": patients.between(3, 8),
    }.items():
        part = nih.images.loc[chosen, ["image_name", *FINDINGS]]
        part = part.rename(columns={"image_name": "Image Index"})
        part.to_csv(root / f"labels/{split}_labels.csv", index=False)
        with tarfile.open(root / f"datasets/ChestXray14_{split}_000.tar", "w") as archive:
            for name in part["Image Index"]:
                content = nih.image_paths[name].read_bytes()
                for member, data in ((name, content), (name[:-3] + "pyd", b"not unpickled")):
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return root


def test_a_webdataset_keeps_its_splits(webdataset, nih, tmp_path):
    release = read_release(webdataset)
    ours, theirs = (
        each.images.sort_values("image_name", ignore_index=True) for each in (release, nih)
    )
    columns = ["image_name", "patient", *FINDINGS]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])
    split = split_by_patient(release.images)
    assert split.value_counts().to_dict() == {"train": 24, "test": 12, "validation": 4}
    assert {*release.images.loc[split == "validation", "patient"]} == {1, 2}
    prepare(release, tmp_path / "out", image_size=16)
    data = load(tmp_path / "out", 16)
    assert data.validation.num_images == 4
    assert not data.facts["nih_test_list"]


def test_splits_that_share_patients_are_drawn_again(webdataset):
    path = webdataset / "labels/val_labels.csv"
    path.write_text(path.read_text().replace("00000001_001.png", "00000009_009.png"))
    with tarfile.open(webdataset / "datasets/more.tar", "w") as archive:
        info = tarfile.TarInfo("00000009_009.png")
        archive.addfile(info, io.BytesIO())
    release = read_release(webdataset)
    assert {*release.images["official_split"]} == {"unlisted"}
    assert "share 1 patients; test radiographs are drawn by patient" in release.notes[-2]


def test_a_cut_tar_archive_without_compression_is_reported(webdataset):
    path = webdataset / "datasets/ChestXray14_val_000.tar"
    complete = path.read_bytes()
    for end in (5 * 512, 3 * 512 + 100, len(complete) - 10240):
        path.write_bytes(complete[:end])
        with pytest.raises(ValueError, match=r"ChestXray14_val_000.tar: damaged after"):
            read_release(webdataset)
