"""The lists of a release, and CSV files of predictions and boxes of any system."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data.releases.nih import Release, read_release
from jaxcxr.evaluation.tables import IMAGE, read_boxes, read_predictions
from jaxcxr.findings import FINDINGS, canonical_finding
from tests.torture.fuzzing import damage
from tests.torture.fuzzing.damage import Rng, any_damage, any_edit, pick, records
from tests.torture.fuzzing.trial import Trial

METADATA, BOXES = "Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"
TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
KNOWN = tuple(f"{number:08}_000.png" for number in range(30))


@functools.cache
def release_files() -> dict[str, str]:
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


@functools.cache
def system_files() -> dict[str, str]:
    """Returns a file of predictions and one of boxes."""
    rng = np.random.default_rng(0)
    predictions, boxes = [",".join([IMAGE, *FINDINGS])], [f"{IMAGE},Finding Label,x,y,w,h,score"]
    for name in KNOWN[:25]:
        predictions.append(",".join([name, *map(repr, rng.random(14).tolist())]))
        numbers = (*rng.uniform(0, 500, 2), *rng.uniform(1, 300, 2), rng.random())
        boxes.append(",".join([name, FINDINGS[rng.integers(0, 8)], *(f"{x:.7f}" for x in numbers)]))
    return {"predictions.csv": "\n".join(predictions) + "\n", "boxes.csv": "\n".join(boxes) + "\n"}


def decimal(text: str) -> float:
    """Returns a decimal number; what else Python reads as a number is NaN."""
    plain = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
    return float(text) if plain else float("nan")


def difference(found: list, expected: list) -> str | None:
    """Returns the first row in which two tables differ, None where they are the same."""
    for ours, theirs in zip(found, expected, strict=False):
        if ours != theirs:
            return f"{ours} in place of {theirs}"
    return None if len(found) == len(expected) else f"{len(found)} rows, not {len(expected)}"


def wrong_release(files: dict[str, bytes], release: Release) -> str | None:
    """Returns where a release differs from its files, read in the plainest way."""
    images = release.images
    found = [
        [row.image_name, {name for name in FINDINGS if row._asdict()[name]}, str(row.follow_up),
         str(row.patient), str(row.age), row.sex, row.view]
        for row in images.itertuples(index=False)
    ]  # fmt: skip
    expected = [
        [row[0], {canonical_finding(n) for n in row[1].split("|") if n.strip() != "No Finding"},
         *(number.lstrip("0") or "0" for number in row[2:5]), *row[5:7]]
        for row in records(files[METADATA])[1:]
    ]  # fmt: skip
    columns = ["image_name", "finding", "x", "y", "w", "h"]
    boxes = [
        [row[0], canonical_finding(row[1]), *map(decimal, row[2:6])]
        for row in records(files[BOXES])[1:]
    ]
    for name, split in ((TRAIN_VAL, "train_val"), (TEST, "test")):
        chosen = images[images["official_split"] == split].sort_values("list_position")
        listed = [line.strip() for line in files[name].decode("utf-8-sig").split("\n")]
        if chosen["image_name"].tolist() != [line for line in listed if line]:
            return name
    ours = release.boxes[columns].to_numpy().tolist()
    return difference(found, expected) or difference(ours, boxes)


def wrong_predictions(content: bytes, found: pd.DataFrame) -> str | None:
    """Returns where predictions differ from their file, read in the plainest way."""
    header, *rows = records(content)
    names = [n if n == IMAGE else canonical_finding(n.removeprefix("prob_")) for n in header]
    order = [IMAGE, *(finding for finding in FINDINGS if finding in names)]
    if list(found) != order or len(order) != len(header):
        return f"columns {list(found)}"
    places = [names.index(name) for name in order]
    expected = [[row[places[0]], *(decimal(row[p]) for p in places[1:])] for row in rows]
    values = found[order[1:]].to_numpy(float)
    if not (set(found[IMAGE]) <= set(KNOWN) and ((values >= 0) & (values <= 1)).all()):
        return "values out of bounds"
    return difference(found.to_numpy().tolist(), expected)


def wrong_boxes(content: bytes, found: pd.DataFrame) -> str | None:
    """Returns where boxes differ from their file, read in the plainest way."""
    header, *rows = records(content)
    numbers = ["x", "y", "w", "h", *(["score"] if "score" in header else [])]
    expected = [
        [row[header.index(IMAGE)], canonical_finding(row[header.index("Finding Label")])]
        + [decimal(row[header.index(name)]) for name in numbers]
        for row in rows
    ]
    sides = found[["x", "y", "w", "h"]].to_numpy(float)
    if not (np.isfinite(sides).all() and (sides[:, 2:] > 0).all()):
        return "values out of bounds"
    return difference(found[["image_name", "finding", *numbers]].to_numpy().tolist(), expected)


def trial(folder: Path, name: str, kind: str, content: bytes | None, must: bool = False) -> Trial:
    """Writes one list or table that is other than it should be, and what belongs to it."""
    if name in release_files():
        files = {other: text.encode() for other, text in release_files().items() if other != name}
        files |= {} if content is None else {name: content}
        for other, data in files.items():
            (folder / other).write_bytes(data)
        read = functools.partial(read_release, folder, require_images=False)
        wrong = functools.partial(wrong_release, files)
        return Trial(f"{name}, {kind}", read, wrong, must, str(folder))
    assert content is not None
    (folder / name).write_bytes(content)
    reader, check = {
        "predictions.csv": (read_predictions, wrong_predictions),
        "boxes.csv": (read_boxes, wrong_boxes),
    }[name]
    read = functools.partial(reader, folder / name, KNOWN)
    return Trial(f"{name}, {kind}", read, functools.partial(check, content), must, name)


def one_of(rng: Rng) -> tuple[str, str]:
    """Returns the name and the text of a list or table, one of a release as often as another."""
    return pick(rng, list(pick(rng, (release_files(), system_files())).items()))


def harmless(rng: Rng, folder: Path) -> Trial:
    name, text = one_of(rng)
    lists_too = ("byte order mark", "CRLF", "blank lines", "spaces")
    ways = {k: f for k, f in damage.HARMLESS.items() if name.endswith(".csv") or k in lists_too}
    way = pick(rng, list(ways))
    return trial(folder, name, way, ways[way](text).encode(), must=True)


def older_metadata(rng: Rng, folder: Path) -> Trial:
    """The older metadata, whose lines end with a comma."""
    content = release_files()[METADATA].replace("\n", ",\n").encode()
    return trial(folder, METADATA, "as in the older release", content, must=True)


def edited(rng: Rng, folder: Path) -> Trial:
    name, text = one_of(rng)
    return trial(folder, name, *any_edit(rng, text))


def damaged(rng: Rng, folder: Path) -> Trial:
    name, text = one_of(rng)
    return trial(folder, name, *any_damage(rng, text.encode()))


def cut(rng: Rng, folder: Path) -> Trial:
    """A table that ends within a line is refused; at the end of a line it is complete."""
    name, text = pick(rng, [(BOXES, release_files()[BOXES]), *system_files().items()])
    short = text[: rng.integers(0, len(text))]
    made = trial(folder, name, "cut", short.encode())
    if short.endswith("\n") or short == text.splitlines()[0]:
        return made
    return Trial(made.kind, made.read, None, False, made.names)


def long_line(rng: Rng, folder: Path) -> Trial:
    name, text = one_of(rng)
    return trial(folder, name, "a long line", damage.with_long_line(rng, text))


def missing(rng: Rng, folder: Path) -> Trial:
    return trial(folder, pick(rng, list(release_files())), "missing", None)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    harmless: 15,
    older_metadata: 1,
    edited: 45,
    damaged: 30,
    cut: 6,
    long_line: 1.2,
    missing: 1,
}
"""How each kind of input is made, and how often."""
