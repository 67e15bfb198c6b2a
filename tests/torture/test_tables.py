"""The lists of a release, and CSV files of predictions and boxes, edited and damaged."""

import functools
import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from jaxcxr.data.releases.sources import read_release
from jaxcxr.evaluation.tables import IMAGE, read_boxes, read_predictions
from jaxcxr.findings import FINDINGS, canonical_finding
from tests.torture.damage import HARMLESS, damaged, edited, records
from tests.torture.limits import campaign, read_or_refuse

METADATA, BOXES = "Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"
TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
KNOWN = tuple(f"{number:08}_000.png" for number in range(30))


def release_files():
    """Returns the lists of a release of 30 radiographs of 15 patients."""
    rng = np.random.default_rng(0)
    rows, boxes, lists = [HEADER], ["Image Index,Finding Label,Bbox [x,y,w,h],,,"], ([], [])
    for patient in range(1, 16):
        for visit in range(2):
            name = f"{patient:08d}_{visit:03d}.png"
            present = "|".join(np.array(FINDINGS)[rng.random(14) < 0.15]) or "No Finding"
            who = f"{visit},{patient},{20 + patient},{'FM'[patient % 2]},{('PA', 'AP')[visit]}"
            rows.append(f"{name},{present},{who},2500,2048,0.168,0.168")
            lists[patient % 3 == 0].append(name)
            if patient % 3 == 0:
                corner = ",".join(map(str, rng.uniform(10, 400, 4).round(9)))
                boxes.append(f"{name},{('Mass', 'Infiltrate')[visit]},{corner}")
    tables = {METADATA: "\n".join(rows) + "\n", BOXES: "\n".join(boxes) + "\n"}
    return {**tables, TRAIN_VAL: "\n".join(lists[0]), TEST: "\n".join(lists[1])}


def system_files():
    """Returns a file of predictions and one of boxes."""
    rng = np.random.default_rng(0)
    predictions, boxes = [",".join([IMAGE, *FINDINGS])], [f"{IMAGE},Finding Label,x,y,w,h,score"]
    for name in KNOWN[:25]:
        predictions.append(",".join([name, *map(repr, rng.random(14).tolist())]))
        numbers = (*rng.uniform(0, 500, 2), *rng.uniform(1, 300, 2), rng.random())
        boxes.append(",".join([name, FINDINGS[rng.integers(0, 8)], *(f"{x:.7f}" for x in numbers)]))
    return {"predictions.csv": "\n".join(predictions) + "\n", "boxes.csv": "\n".join(boxes) + "\n"}


RELEASE, SYSTEM = release_files(), system_files()


def decimal(text):
    """Returns a decimal number; what else Python reads as a number is NaN."""
    plain = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
    return float(text) if plain else float("nan")


def assert_release(files, release):
    """Compares a release with its files, read in the plainest way."""
    images = release.images
    found = [
        [row.image_name, {name for name in FINDINGS if row._asdict()[name]}, str(row.follow_up),
         str(row.patient), str(row.age), row.sex, row.view]
        for row in images.itertuples(index=False)
    ]  # fmt: skip
    assert found == [
        [row[0], {canonical_finding(n) for n in row[1].split("|") if n.strip() != "No Finding"},
         *(number.lstrip("0") or "0" for number in row[2:5]), *row[5:7]]
        for row in records(files[METADATA])[1:]
    ]  # fmt: skip
    for name, split in ((TRAIN_VAL, "train_val"), (TEST, "test")):
        chosen = images[images["official_split"] == split].sort_values("list_position")
        listed = [line.strip() for line in files[name].decode("utf-8-sig").split("\n")]
        assert chosen["image_name"].tolist() == [line for line in listed if line]
    columns = ["image_name", "finding", "x", "y", "w", "h"]
    assert release.boxes[columns].to_numpy().tolist() == [
        [row[0], canonical_finding(row[1]), *map(decimal, row[2:6])]
        for row in records(files[BOXES])[1:]
    ]


def assert_predictions(content, found):
    """Compares predictions with their file, read in the plainest way."""
    header, *rows = records(content)
    names = [n if n == IMAGE else canonical_finding(n.removeprefix("prob_")) for n in header]
    order = [IMAGE, *(finding for finding in FINDINGS if finding in names)]
    assert list(found) == order
    assert len(order) == len(header)
    values = found[order[1:]].to_numpy(float)
    assert set(found[IMAGE]) <= set(KNOWN)
    assert ((values >= 0) & (values <= 1)).all()
    places = [names.index(name) for name in order]
    expected = [[row[places[0]], *(decimal(row[p]) for p in places[1:])] for row in rows]
    assert found.to_numpy().tolist() == expected


def assert_boxes(content, found):
    """Compares boxes with their file, read in the plainest way."""
    header, *rows = records(content)
    numbers = ["x", "y", "w", "h", *(["score"] if "score" in header else [])]
    sides = found[["x", "y", "w", "h"]].to_numpy(float)
    assert np.isfinite(sides).all()
    assert (sides[:, 2:] > 0).all()
    assert found[["image_name", "finding", *numbers]].to_numpy().tolist() == [
        [row[header.index(IMAGE)], canonical_finding(row[header.index("Finding Label")])]
        + [decimal(row[header.index(name)]) for name in numbers]
        for row in rows
    ]


@pytest.fixture
def read(tmp_path):
    """Reads a list or table; compares what is accepted. Returns whether it was."""

    def read(name, content):
        if name in RELEASE:
            files = {other: text.encode() for other, text in RELEASE.items()} | {name: content}
            for other, data in files.items():
                (tmp_path / other).write_bytes(data)
            reader = functools.partial(read_release, tmp_path, require_images=False)
            found = read_or_refuse(reader, names=str(tmp_path))
            assert_accepted = functools.partial(assert_release, files)
        else:
            (tmp_path / name).write_bytes(content)
            reader = {"predictions.csv": read_predictions, "boxes.csv": read_boxes}[name]
            found = read_or_refuse(lambda: reader(tmp_path / name, KNOWN)[0], names=name)
            check = {"predictions.csv": assert_predictions, "boxes.csv": assert_boxes}[name]
            assert_accepted = functools.partial(check, content)
        if found is not None:
            assert_accepted(found)
        return found is not None

    return read


FILES = st.sampled_from([*RELEASE.items(), *SYSTEM.items()])


@pytest.mark.parametrize("name", [*RELEASE, *SYSTEM])
def test_harmless_changes_are_accepted(read, name):
    text = {**RELEASE, **SYSTEM}[name]
    for change in HARMLESS if name.endswith(".csv") else HARMLESS[:4]:
        assert read(name, change(text).encode())


def test_control_character_does_not_end_a_line(read):
    """A flipped bit makes a vertical tab of a line feed."""
    assert not read(TRAIN_VAL, RELEASE[TRAIN_VAL].replace("\n", "\x0b", 1).encode())


@campaign(0.2)
@given(FILES, st.data())
def test_edited_table_is_refused_or_read_as_it_says(read, file, data):
    name, text = file
    read(name, data.draw(edited(text)))


@campaign(0.15)
@given(FILES, st.data())
def test_damaged_table_is_refused_or_read_as_it_says(read, file, data):
    name, text = file
    read(name, data.draw(damaged(text.encode())))


@campaign(0.03)
@given(st.sampled_from([(BOXES, RELEASE[BOXES]), *SYSTEM.items()]), st.data())
def test_table_cut_within_a_line_is_refused(read, file, data):
    """A table that ends at the end of a line is complete."""
    name, text = file
    short = text[: data.draw(st.integers(0, len(text) - 1))]
    accepted = read(name, short.encode())
    assert not accepted or short.endswith("\n") or short == text.splitlines()[0]
