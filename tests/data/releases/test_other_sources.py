"""Releases of other hospitals: what is read of them, and several prepared as one dataset."""

import numpy as np
import pandas as pd
import pytest

from jaxcxr.data import load, prepare, read_release
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from tests.data.conftest import write_release
from tests.data.releases import other_sources

pytest.importorskip("pydicom")


def labels_of(release, row: int) -> dict[str, float]:
    """Returns the known labels of a radiograph."""
    labels = release.images.loc[row, list(FINDINGS)]
    return {name: value for name, value in labels.items() if not np.isnan(value)}


def test_chexpert_labels_that_are_uncertain_or_blank_are_unknown(tmp_path):
    release = read_release(other_sources.write_chexpert(tmp_path))
    assert release.source == "chexpert"
    assert labels_of(release, 0) == {"Edema": 1, "Effusion": 0}  # cardiomegaly is -1
    annotated = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion")
    assert labels_of(release, 1) == dict.fromkeys((*annotated, "Pneumonia", "Pneumothorax"), 0)
    assert labels_of(release, 2) == {"Effusion": 1}
    images = release.images
    assert images["image_name"][0] == "patient00001/study1/view1_frontal.jpg"
    assert images["official_split"].value_counts().to_dict() == {"train_val": 12, "test": 3}
    people = images.loc[:1, ["patient", "sex", "age", "view", "follow_up"]]
    assert people.to_numpy().tolist() == [[1, "F", 41, "AP", 0], [2, "M", 42, "PA", 0]]
    assert release.notes == ("train.csv: 1 lateral radiographs are left out",)


def test_chexpert_test_set_has_neither_age_nor_view(tmp_path):
    root = other_sources.write_chexpert(tmp_path)
    (root / "valid").rename(root / "val")  # as CheXlocalize has them
    (root / "valid.csv").rename(root / "val_labels.csv")
    place = "test/patient64741/study1/view1_frontal.jpg"
    other_sources.write_picture(root / place, 0)
    header = f"Path,{other_sources.CHEXPERT_LABELS}"
    (root / "test_labels.csv").write_text(f"{header}\n{place},0.0,1.0{',0.0' * 12}\n")
    release = read_release(root)
    splits = release.images["official_split"].value_counts().to_dict()
    assert splits == {"train_val": 12, "validation": 3, "test": 1}
    assert [*release.images.loc[15, ["sex", "age", "view"]]] == ["unknown", -1, "unknown"]
    assert not release.missing


def test_vindr_labels_are_of_the_majority(tmp_path):
    release = read_release(other_sources.write_vindr(tmp_path))
    assert release.source == "vindr"
    images = release.images
    assert images["official_split"].value_counts().to_dict() == {"train_val": 10, "test": 4}
    assert images[["Mass", "Nodule", "Hernia"]].isna().all(axis=None)
    assert set(images["view"]) == {"PA"}
    assert images["age"].between(40, 89).all()
    assert labels_of(release, 0)["Effusion"] == 1
    assert labels_of(release, 0)["Cardiomegaly"] == 0
    assert images["Cardiomegaly"].sum() == 5
    boxes = release.boxes.groupby("finding").size().to_dict()
    assert boxes == {"Effusion": 2, "Cardiomegaly": 15, "Atelectasis": 2}
    assert release.boxes.iloc[0].tolist()[1:] == ["Effusion", 2.5, 3.0, 8.0, 6.0]
    table = tmp_path / "annotations/image_labels_train.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(rows[:1] + rows[2:]) + "\n")  # without R8: two see the effusion
    assert labels_of(read_release(tmp_path), 0)["Effusion"] == 1
    table.write_text("\n".join(rows[:3] + rows[4:]) + "\n")  # without R10: one of two sees it
    assert "Effusion" not in labels_of(read_release(tmp_path), 0)


def test_rsna_annotates_pneumonia_alone(tmp_path):
    release = read_release(other_sources.write_rsna(tmp_path))
    assert release.source == "rsna"
    others = [finding for finding in FINDINGS if finding != "Pneumonia"]
    assert release.images[others].isna().all(axis=None)
    assert release.images["Pneumonia"].tolist() == [1, 0, 0] * 4
    assert len(release.boxes) == 5
    assert set(release.boxes["finding"]) == {"Pneumonia"}
    assert "also in NIH" in release.notes[0]
    people = release.images[["age", "sex", "view"]]
    assert people[:3].to_numpy().tolist() == [[40, "F", "PA"], [41, "M", "PA"], [42, "other", "PA"]]
    unknown = read_release(tmp_path, require_images=False).images
    assert unknown[["age", "sex"]].to_numpy().tolist() == [[-1, "unknown"]] * 12


def test_wrong_and_missing_files_are_named(tmp_path):
    root = other_sources.write_rsna(tmp_path)
    lost = next((root / "stage_2_train_images").iterdir())
    lost.unlink()
    with pytest.raises(UserError, match=rf"radiographs without a file \(1\): .*{lost.name}"):
        read_release(root)
    assert read_release(root, allow_missing=True).missing == {lost.name: "no file"}
    with pytest.raises(UserError, match="rsna releases have no box_image_size"):
        read_release(root, box_image_size=0)
    with pytest.raises(UserError, match="source is 'mimic'; expected auto or one of chexpert, vin"):
        read_release(root, source="mimic")
    table = root / "stage_2_train_labels.csv"
    table.write_text(table.read_text().replace("Target", "Label"))
    with pytest.raises(UserError, match=r"stage_2_train_labels.csv: no column 'Target' in the"):
        read_release(root)
    with pytest.raises(UserError, match=r"train.csv, valid.csv or test_labels.csv; name"):
        read_release(root, source="chexpert")


def test_several_releases_are_prepared_as_one_dataset(tmp_path):
    roots = [
        write_release(tmp_path / "nih", patients=10).root,
        other_sources.write_chexpert(tmp_path / "chexpert"),
        other_sources.write_vindr(tmp_path / "vindr"),
    ]
    releases = [read_release(root) for root in roots]
    done = prepare(releases, tmp_path / "data", image_size=16)
    assert sum(done.images.values()) == sum(len(release.images) for release in releases)
    assert prepare(releases, tmp_path / "data", image_size=16).reused
    data = load(tmp_path / "data", 16)
    assert data.facts["release"] == "nih + chexpert + vindr"
    held = [split.in_memory().fields for split in (data.train, data.validation, data.test)]
    for fields in held:
        assert set(fields["source"]) == {"nih", "chexpert", "vindr"}
    wanted = pd.concat([release.images for release in releases]).set_index("image_name")
    names, labels = (
        np.concatenate([fields[name] for fields in held]) for name in ("image_name", "labels")
    )
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, wanted.loc[names, list(FINDINGS)])
    patients = np.concatenate([fields["patient"] for fields in held])
    assert {"nih 1", "chexpert 1"} <= set(patients)
    sexes = np.concatenate([fields["sex"] for fields in held])
    assert sexes.tolist() == wanted.loc[names, "sex"].tolist()
    assert set(sexes) == {"F", "M", "other", "unknown"}
    boxes = data.test.boxes()
    assert set(boxes["finding"]) == {"Mass", "Infiltration", "Atelectasis"}
    with pytest.raises(UserError, match="20 radiographs are in two of the releases"):
        prepare([releases[0], releases[0]], tmp_path / "data", image_size=16)
