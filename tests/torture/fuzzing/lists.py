"""The four lists of a release, for the reader of releases."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxcxr.data.releases.nih import Release, read_release
from jaxcxr.findings import FINDINGS, canonical_finding
from tests.torture.fuzzing import damage, texts
from tests.torture.fuzzing.trial import Trial

Rng = np.random.Generator

METADATA, BOXES = "Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"
TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"
TABLES, LISTS = (METADATA, BOXES), (TRAIN_VAL, TEST)

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


@functools.cache
def originals() -> dict[str, str]:
    """Returns the lists of a release of 30 radiographs of 15 patients."""
    rng = np.random.default_rng(0)
    rows, boxes, lists = [HEADER], [BOX_HEADER], {TRAIN_VAL: [], TEST: []}
    for patient in range(1, 16):
        for visit in range(2):
            name = f"{patient:08d}_{visit:03d}.png"
            present = np.array(FINDINGS)[rng.random(14) < 0.15]
            who = f"{visit},{patient},{20 + patient},{'FM'[patient % 2]},{('PA', 'AP')[visit]}"
            rows.append(f"{name},{'|'.join(present) or 'No Finding'},{who},2500,2048,0.168,0.168")
            lists[TEST if patient % 3 == 0 else TRAIN_VAL].append(name)
            if patient % 3 == 0:
                corner = ",".join(map(str, rng.uniform(10, 400, 4).round(9)))
                boxes.append(f"{name},{('Mass', 'Infiltrate')[visit]},{corner}")
    tables = {METADATA: rows, BOXES: boxes}
    return {
        **{name: "\n".join(lines) + "\n" for name, lines in tables.items()},
        **{name: "\n".join(lines) for name, lines in lists.items()},
    }


def trial(folder: Path, kind: str, must_accept: bool = False, **other: bytes | None) -> Trial:
    """Writes a release, one list of which is other than it should be.

    Args:
        folder: Where to.
        kind: What was done to the list.
        must_accept: Whether it is still right.
        other: Contents of `metadata`, `boxes`, `train_val` or `test`; None leaves the file out.
    """
    files = {name: text.encode() for name, text in originals().items()}
    keys = {"metadata": METADATA, "boxes": BOXES, "train_val": TRAIN_VAL, "test": TEST}
    for key, content in other.items():
        if content is None:
            del files[keys[key]]
        else:
            files[keys[key]] = content
    for name, content in files.items():
        (folder / name).write_bytes(content)
    read = functools.partial(read_release, folder, require_images=False)
    return Trial(f"lists, {kind}", read, functools.partial(wrong, files), must_accept, str(folder))


def wrong(files: dict[str, bytes], release: Release) -> str | None:
    """Tells where a release says something else than its files, read in the plainest way."""
    rows = [row[:7] for row in texts.records(files[METADATA])[1:]]
    images = release.images
    found = [
        [
            row.image_name,
            {finding for finding in FINDINGS if row._asdict()[finding]},
            *map(str, (row.follow_up, row.patient, row.age)),
            row.sex,
            row.view,
        ]
        for row in images.itertuples(index=False)
    ]
    expected = [
        [row[0], findings(row[1]), *[number.lstrip("0") or "0" for number in row[2:5]], *row[5:]]
        for row in rows
    ]
    if found != expected:
        return f"metadata: {first_difference(found, expected)}"
    boxes = [
        [row[0], canonical_finding(row[1]), *row[2:6]] for row in texts.records(files[BOXES])[1:]
    ]
    found = release.boxes[["image_name", "finding", "x", "y", "w", "h"]].to_numpy().tolist()
    expected = [[*row[:2], *map(decimal, row[2:])] for row in boxes]
    if found != expected:
        return f"boxes: {first_difference(found, expected)}"
    for name, split in ((TRAIN_VAL, "train_val"), (TEST, "test")):
        listed = files[name].decode("utf-8-sig").split("\n")
        expected = [line.strip() for line in listed if line.strip()]
        chosen = images[images["official_split"] == split].sort_values("list_position")
        if chosen["image_name"].tolist() != expected:
            return name
    return None


def findings(text: str) -> set[str]:
    """Returns the findings of a field of the metadata."""
    names = {name.strip() for name in text.split("|")} - {"No Finding"}
    return {canonical_finding(name) for name in names}


def decimal(text: str) -> float:
    """Returns a number as people write it; what else Python takes for one is none."""
    plain = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
    return float(text) if plain else float("nan")


def first_difference(found: list, expected: list) -> str:
    """Returns the first row in which two tables differ."""
    for ours, theirs in zip(found, expected, strict=False):
        if ours != theirs:
            return f"{ours} in place of {theirs}"
    return f"{len(found)} rows in place of {len(expected)}"


def harmless(rng: Rng, folder: Path) -> Trial:
    """Tables as editors and spreadsheets save them; lists but for the quotes."""
    if rng.random() < 0.7:
        key, name = (("metadata", METADATA), ("boxes", BOXES))[rng.integers(0, 2)]
        ways = texts.HARMLESS
    else:
        key, name = (("train_val", TRAIN_VAL), ("test", TEST))[rng.integers(0, 2)]
        ways = (
            texts.with_mark,
            texts.with_other_line_ends,
            texts.with_blank_lines,
            texts.with_spaces,
        )
    way = ways[rng.integers(0, len(ways))]
    content = way(rng, originals()[name])
    return trial(folder, way.__name__, True, **{key: content})


def older(rng: Rng, folder: Path) -> Trial:
    """The older metadata, whose lines end with a comma."""
    content = originals()[METADATA].replace("\n", ",\n").encode()
    return trial(folder, "as in the older release", True, metadata=content)


def harmful(rng: Rng, folder: Path) -> Trial:
    key, name = list(zip(("metadata", "boxes", "train_val", "test"), originals(), strict=True))[
        rng.choice(4, p=(0.45, 0.35, 0.1, 0.1))
    ]
    way = texts.HARMFUL[rng.integers(0, len(texts.HARMFUL))]
    return trial(folder, way.__name__, **{key: way(rng, originals()[name])})


def damaged(rng: Rng, folder: Path) -> Trial:
    key, name = list(zip(("metadata", "boxes", "train_val", "test"), originals(), strict=True))[
        rng.choice(4, p=(0.4, 0.3, 0.15, 0.15))
    ]
    way, content = damage.any_way(rng, originals()[name].encode())
    return trial(folder, way, **{key: content})


def cut_boxes(rng: Rng, folder: Path) -> Trial:
    """A list of boxes that ends within a line is not to be read; at a line's end it is whole."""
    text = originals()[BOXES]
    cut = text[: rng.integers(0, len(text))]
    made = trial(folder, "boxes truncated", boxes=cut.encode())
    if not cut.endswith("\n") and cut != BOX_HEADER:
        return Trial(made.kind, made.read, None, False, made.names)
    return made


def long_line(rng: Rng, folder: Path) -> Trial:
    key, name = list(zip(("metadata", "boxes", "train_val", "test"), originals(), strict=True))[
        rng.integers(0, 4)
    ]
    content = texts.with_long_line(rng, originals()[name])
    return trial(folder, "with_long_line", **{key: content})


def missing(rng: Rng, folder: Path) -> Trial:
    key = ("metadata", "boxes", "train_val", "test")[rng.integers(0, 4)]
    return trial(folder, "a list is missing", **{key: None})


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    harmless: 14,
    older: 1,
    harmful: 45,
    damaged: 30,
    cut_boxes: 4,
    long_line: 1.5,
    missing: 1,
}
"""How each kind of input is made, and how often."""
