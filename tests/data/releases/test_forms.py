"""NIH's radiographs and lists as people have them; the reference is the official form."""

import codecs
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jaxcxr.data import load, prepare, read_release
from jaxcxr.data.releases.original_sizes import original_sizes
from jaxcxr.data.splits import split_by_patient
from jaxcxr.errors import UserError
from tests.data.conftest import HEADER, write_release


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return read_release(write_release(tmp_path_factory.mktemp("official") / "nih").root)


def assert_same(release, official):
    """Compares what is read, and the pixels where nothing but the format differs."""
    pd.testing.assert_frame_equal(release.images, official.images)
    pd.testing.assert_frame_equal(release.boxes, official.boxes)
    assert release.image_paths.keys() | release.archived.keys() == official.image_paths.keys()


@pytest.mark.parametrize("place", ["images-224", "images/images", "CXR8/images/images_{}/images"])
def test_radiographs_are_found_in_any_folder(make_release, official, place):
    folder = make_release()
    for number, path in enumerate(sorted((folder.root / "images").iterdir())):
        target = folder.root / place.format(f"{number % 3:03d}")
        target.mkdir(parents=True, exist_ok=True)
        path.rename(target / path.name)
    assert_same(read_release(folder.root), official)


def test_lists_are_found_below_the_folder(make_release, official):
    folder = make_release()
    (folder.root / "data/meta").mkdir(parents=True)
    for path in folder.root.glob("*.*"):
        path.rename(folder.root / "data/meta" / path.name)
    assert_same(read_release(folder.root), official)


def test_copies_in_another_format_are_found_by_stem(make_release, official):
    folder = make_release()
    for number, path in enumerate(sorted((folder.root / "images").iterdir())):
        suffix = (".jpg", ".JPEG")[number % 2]
        Image.open(path).save(path.with_suffix(suffix), format="JPEG")
        path.unlink()
    release = read_release(folder.root)
    assert_same(release, official)
    assert "20 radiographs are read from .JPEG files in place of those that" in release.notes[1]


def as_spreadsheet(separator, encoding, start=""):
    """Returns what a spreadsheet makes of a table; European ones have decimal commas."""

    def rewrite(text):
        if separator == ";":
            text = re.sub(r"(?<=\d)\.(?=\d+(,|$))", "~", text, flags=re.MULTILINE)
        text = text.replace(",", separator).replace("~", ",")
        return (start + text).replace("\n", "\r\n").encode(encoding)

    return rewrite


@pytest.mark.parametrize(
    "rewrite",
    [
        as_spreadsheet(",", "utf-8-sig"),
        as_spreadsheet(";", "utf-8-sig"),
        as_spreadsheet(";", "utf-8", "sep=;\n"),
        as_spreadsheet("\t", "utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    ],
)
def test_tables_of_spreadsheets_are_read(make_release, official, rewrite):
    folder = make_release()
    for path in (folder.metadata, folder.boxes):
        path.write_bytes(rewrite(path.read_text()))
    for path in (folder.train_val, folder.test):
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode("utf-16"))
    assert_same(read_release(folder.root), official)
    sizes = original_sizes(folder.root, official.images["image_name"].tolist())
    np.testing.assert_array_equal(sizes, [[2500, 2048]] * 40)


def test_columns_are_found_by_name(make_release, official):
    folder = make_release()
    table = pd.read_csv(folder.metadata, header=0, names=HEADER.split(","), dtype=str)
    table[table.columns[::-1]].to_csv(folder.metadata, index=True)
    assert_same(read_release(folder.root), official)


@pytest.fixture
def sample(make_release):
    """Kaggle's sample: no lists, ages such as 060Y, patients with zeros."""
    folder = make_release()
    header, *rows = folder.metadata.read_text().splitlines()
    rows = [re.sub(r",(\d),(\d+),(\d+),", r",00\1,000\2,0\3Y,", row) for row in rows]
    header = header.replace("[", "").replace("]", "")
    (folder.root / "sample_labels.csv").write_text("\n".join([header, *rows]) + "\n")
    for path in (folder.metadata, folder.boxes, folder.train_val, folder.test):
        path.unlink()
    return folder


def test_kaggles_sample_is_split_by_patient(sample, official, tmp_path):
    release = read_release(sample.root)
    columns = [name for name in release.images if name not in ("official_split", "list_position")]
    pd.testing.assert_frame_equal(release.images[columns], official.images[columns])
    lists, boxes = release.notes
    assert lists.startswith("no official lists (train_val_list.txt, test_list.txt): test radio")
    assert boxes == "no box list (BBox_List_2017.csv): there are no annotated boxes"
    split = split_by_patient(release.images, 1)
    assert split.value_counts().to_dict() == {"train": 28, "validation": 4, "test": 8}
    assert split.groupby(release.images["patient"]).nunique().max() == 1
    assert (split != split_by_patient(release.images, 2)).any()
    shuffled = release.images.sample(frac=1, random_state=0)
    assert split_by_patient(shuffled, 1).sort_index().equals(split)
    with pytest.raises(UserError, match="official lists, which this release does not have"):
        prepare(release, tmp_path / "out", split="authors", image_size=16)
    prepare(release, tmp_path / "out", image_size=16)
    data = load(tmp_path / "out", 16)
    assert not data.facts["nih_test_list"]
    assert data.test.boxes().empty


def test_a_list_that_is_missing_is_the_rest(make_release, official):
    for name in ("test", "train_val"):
        folder = make_release(name)
        getattr(folder, name).unlink()
        pd.testing.assert_series_equal(
            read_release(folder.root).images["official_split"], official.images["official_split"]
        )


OWN = {  # age, sex and view in the file, and what they mean
    "45,Male,AP Supine": (45, "M", "AP"),
    ",female,": (-1, "F", "unknown"),
    "006M,,pa": (0, "unknown", "PA"),
    "nan,X,LL": (-1, "other", "lateral"),
    "77.0,f,oblique": (77, "F", "other"),
}


def test_data_of_ones_own_in_nihs_form(make_release, tmp_path):
    """The radiographs of a patient stay together; what is unknown stays unknown in the dataset."""
    folder = make_release(patients=5)
    header, *rows = folder.metadata.read_text().splitlines()
    values = [*OWN][::-1]
    own = [
        re.sub(r",(\d),\d+,[FM],[AP]{2},", rf",P-00\1,{value},", row)
        for row, value in zip(rows, 2 * values, strict=True)
    ]
    folder.metadata.write_text("\n".join([header, *own]) + "\n")
    release = read_release(folder.root)
    assert [*release.images["patient"][:3]] == ["P-001", "P-001", "P-002"]
    found = release.images[["age", "sex", "view"]].iloc[:5].itertuples(index=False, name=None)
    assert [*found] == [OWN[value] for value in values]
    assert "'AP Supine' as AP" in release.notes[0]
    prepare(release, tmp_path / "out", image_size=16)
    fields = load(tmp_path / "out", 16).test.in_memory().fields
    told = zip(*(fields[name].tolist() for name in ("age", "sex", "view")), strict=True)
    expected = release.images.set_index("image_name").loc[fields["image_name"]]
    assert [*told] == [*expected[["age", "sex", "view"]].itertuples(index=False, name=None)]
    assert fields["patient"].tolist() == expected["patient"].tolist()


def test_columns_about_people_may_be_missing(make_release, official):
    folder = make_release()
    table = pd.read_csv(folder.metadata, usecols=[0, 1], dtype=str)
    table.to_csv(folder.metadata, index=False)
    release = read_release(folder.root)
    assert release.notes[0].startswith("Data_Entry_2017_v2020.csv: 40 radiographs have no patient;")
    assert release.images["patient"].equals(official.images["patient"])
    assert {*release.images["age"]} == {-1}
    assert {*release.images["sex"], *release.images["view"]} == {"unknown"}


def test_a_part_of_the_table_beside_complete_lists(make_release, tmp_path):
    folder = make_release()
    rows = folder.metadata.read_text().splitlines()
    folder.metadata.write_text("\n".join(rows[:-10]) + "\n")  # patients 16 to 20
    folder.edit(folder.boxes, "00000010_000.png", "00000020_000.png")
    with pytest.raises(UserError, match=r"test_list.txt names .* metadata \(2\)") as caught:
        read_release(folder.root)
    assert caught.value.argument == "allow_missing"
    done = prepare(read_release(folder.root, allow_missing=True), tmp_path, image_size=16)
    assert sum(done.images.values()) == 30
    assert len(pd.read_csv(done.folder / "skipped.csv")) == 10
    assert {*done.left_out.values()} == {"no metadata"}
    assert len(read_release(folder.root, require_images=False).images) == 30


def test_lists_of_a_part_beside_the_complete_table(make_release, official):
    folder = make_release()
    folder.train_val.write_text("\n".join(folder.train_val.read_text().split()[:20]))
    with pytest.raises(UserError, match=r"neither .* names \(12\)") as caught:
        read_release(folder.root)
    assert caught.value.argument == "allow_missing"
    release = read_release(folder.root, allow_missing=True)
    assert {*release.missing.values()} == {"in neither list"}
    chosen = official.images["image_name"].isin(release.image_paths)
    pd.testing.assert_frame_equal(release.images, official.images[chosen].reset_index(drop=True))
    scored = read_release(folder.root, require_images=False)
    assert scored.images["official_split"].value_counts()["unlisted"] == 12


def test_labels_of_another_table(make_release, official):
    """A column per finding, of a part of the radiographs."""
    folder = make_release()
    findings = official.images.columns[6:20]
    table = official.images.loc[:9, ["image_name", *findings]].assign(Hernia=1)
    path = folder.root.parent / "labels.csv"
    table.rename(columns={"image_name": "Image Index"}).to_csv(path, index=False)
    release = read_release(folder.root, labels=path, allow_missing=True)
    assert len(release.images) == 10
    assert release.images["Hernia"].all()
    assert release.images["Mass"].equals(official.images["Mass"][:10])
    unknown = table.drop(columns="Edema").astype({"Mass": str, "Nodule": str})
    unknown.loc[0, ["Mass", "Nodule"]] = ["-1", ""]
    unknown.rename(columns={"image_name": "Image Index"}).to_csv(path, index=False)
    some = read_release(folder.root, labels=path, allow_missing=True).images
    assert some[["Mass", "Nodule"]].iloc[0].isna().all()
    assert some["Edema"].isna().all()
    assert some["Mass"][1:].tolist() == release.images["Mass"][1:].tolist()
    shutil.copy(path, folder.root / "others.csv")
    folder.metadata.rename(folder.root / "mine.csv")
    with pytest.raises(UserError, match=r"several tables of labels \(mine.csv, others.csv\)") as e:
        read_release(folder.root)
    assert e.value.argument == "labels"


def test_numbered_patients_of_earlier_datasets_are_read(prepared, monkeypatch):
    """Earlier versions stored patients as numbers, and sex and view as classes of two."""
    import tensorflow_datasets as tfds

    from jaxcxr.data.chest_xray14 import chest_xray14_dataset_builder as builder
    from jaxcxr.data.chest_xray14 import records

    folder, data_dir = prepared
    out = data_dir.parent / "earlier"
    original, read_record = builder.Builder._info, records.read_record

    def numbered(*args):
        record = read_record(*args)
        return record | {"patient": int(record["patient"])}

    def info(self):
        found = original(self)
        features = dict(found.features.items()) | {"patient": np.int32}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), metadata=found.metadata
        )

    monkeypatch.setattr(builder, "read_record", numbered)
    monkeypatch.setattr(builder.Builder, "_info", info)
    prepare(read_release(folder.root), out, image_size=32)
    now, earlier = (load(place, 32).test.in_memory().fields for place in (data_dir, out))
    for name, values in now.items():
        np.testing.assert_array_equal(values, earlier[name])
