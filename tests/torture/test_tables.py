"""The lists of a release, and CSV files of predictions and boxes, edited and damaged."""

import contextlib
import csv
import functools
import io
import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from jaxcxr.data.releases.sources import read_release
from jaxcxr.evaluation.fields import stem
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


def decoded(content):
    return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def rows_by_name(content):
    """Returns the rows of a table as dictionaries, read in the plainest way."""
    text = decoded(content)
    head = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    header, *rows = [[field.strip() for field in row] for row in reader if any(map(str.strip, row))]
    names = [name.removeprefix("Bbox [").rstrip("]") for name in header]
    return [dict(zip(names, row, strict=False)) for row in rows]


PEOPLE = {  # columns of people, what is plain in them, and how that is read
    "Follow-up #": ("follow_up", r"\d{1,9}", int),
    "Patient ID": ("patient", r"[1-9]\d{0,8}", str),
    "Patient Age": ("age", r"\d{1,3}", int),
    "Patient Gender": ("sex", "[MF]", str),
    "View Position": ("view", "PA|AP", str),
}


def assert_release(files, release):
    """Compares a release with its files; of people, what is plain in the files."""
    images = release.images
    for row, found in zip(rows_by_name(files[METADATA]), images.to_dict("records"), strict=True):
        assert found["image_name"] == row[IMAGE]
        named = {n for n in row["Finding Labels"].split("|") if n.strip() != "No Finding"}
        assert {name for name in FINDINGS if found[name]} == {*map(canonical_finding, named)}
        for column, (name, plain, read) in PEOPLE.items():
            if re.fullmatch(plain, row.get(column, ""), re.ASCII):
                kind = str if name == "patient" else type(read(row[column]))
                assert kind(found[name]) == read(row[column])
    known = {name.removesuffix(".png"): name for name in images["image_name"]}
    for name, split in ((TRAIN_VAL, "train_val"), (TEST, "test")):
        chosen = images[images["official_split"] == split].sort_values("list_position")
        listed = [line.strip() for line in decoded(files[name]).split("\n")]
        stems = [stem(line) for line in listed if line]
        assert chosen["image_name"].tolist() == [known[each] for each in stems if each in known]
    boxes = [
        [
            known[stem(row[IMAGE])],
            canonical_finding(row["Finding Label"]),
            *map(decimal, (row["x"], row["y"], row["w"], row["h"])),
        ]
        for row in rows_by_name(files[BOXES])
        if stem(row[IMAGE]) in known
    ]
    assert release.boxes[["image_name", "finding", "x", "y", "w", "h"]].to_numpy().tolist() == boxes


def known_finding(name):
    """Returns a finding's name, None for another column, which is left out with a note."""
    with contextlib.suppress(KeyError):
        return canonical_finding(name)


def finding_of(name):
    """Returns the finding that a name means, or None."""
    try:
        return canonical_finding(name.removeprefix("prob_"))
    except KeyError:
        return None


def place_of(header, name):
    """Returns the place of a column, whose name may have other punctuation, or be empty."""
    plain = [re.sub("[^a-z]", "", word.lower()) for word in header]
    wanted = re.sub("[^a-z]", "", name.lower())
    return plain.index(wanted if wanted in plain else "")


def assert_images(found, fields):
    """Compares radiographs with the names of a file, which may be paths and have any suffix."""
    assert set(found) <= set(KNOWN)
    for name, field in zip(found, fields, strict=True):
        assert name.removesuffix(".png") in field


def assert_predictions(content, found):
    """Compares predictions with their file, read in the plainest way."""
    header, *rows = records(content)
    places = {finding_of(name): place for place, name in enumerate(header)}
    order = [finding for finding in FINDINGS if finding in places]
    assert list(found) == [IMAGE, *order]
    values = found[order].to_numpy(float)
    assert ((values >= 0) & (values <= 1)).all()
    assert values.tolist() == [[decimal(row[places[name]]) for name in order] for row in rows]
    assert_images(found[IMAGE], [row[place_of(header, IMAGE)] for row in rows])


def assert_boxes(content, found):
    """Compares boxes with their file, read in the plainest way."""
    header, *rows = records(content)
    label = place_of(header, "Finding Label")
    rows = [row for row in rows if finding_of(row[label])]
    numbers = ["x", "y", "w", "h", *(["score"] if "score" in header else [])]
    sides = found[["x", "y", "w", "h"]].to_numpy(float)
    assert np.isfinite(sides).all()
    assert (sides[:, 2:] > 0).all()
    assert found[["finding", *numbers]].to_numpy().tolist() == [
        [finding_of(row[label]), *(decimal(row[place_of(header, name)]) for name in numbers)]
        for row in rows
    ]
    assert_images(found["image_name"], [row[place_of(header, IMAGE)] for row in rows])


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
