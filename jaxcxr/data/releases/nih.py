"""Reading a release of NIH ChestX-ray14: what its lists say, and where its radiographs lie.

Source: Wang et al. 2017 (ChestX-ray8), and the files as NIH, Kaggle, the Hugging Face hub and
GitHub have them; docs/data.md lists the forms.
"""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data import phantom
from jaxcxr.data.releases.archives import ArchivedImage, find_images, list_files
from jaxcxr.data.releases.box_pixels import BOXES_NAME, in_png_pixels
from jaxcxr.data.releases.nih_lists import is_metadata, read_boxes, read_metadata, read_names
from jaxcxr.data.releases.parquet import has_images
from jaxcxr.data.releases.problems import Problems
from jaxcxr.data.releases.release import Release
from jaxcxr.data.splits import UNLISTED
from jaxcxr.errors import UserError
from jaxcxr.evaluation.fields import stem
from jaxcxr.findings import FINDINGS
from jaxcxr.images.radiograph import picture_size

TRAIN_VAL_NAME = "train_val_list.txt"
TEST_NAME = "test_list.txt"
_LISTS = {"train_val": TRAIN_VAL_NAME, "test": TEST_NAME}
_BOTH = f"{TRAIN_VAL_NAME} and {TEST_NAME}"

_METADATA_NAMES = ("data_entry_2017_v2020.csv", "data_entry_2017.csv", "sample_labels.csv")
_BOX_LIST = re.compile(r"bbox.*\.[ct]sv", re.IGNORECASE)
_SPLIT_WORD = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])", re.IGNORECASE)


def recognizes(root: Path) -> bool:
    """Returns whether a folder holds, itself or below it, a table of labels of NIH's name."""
    return root.is_dir() and any(path.name.lower() in _METADATA_NAMES for path in list_files(root))


def read(
    root: Path,
    *,
    require_images: bool = True,
    allow_missing: bool = False,
    box_image_size: int | None = None,
    labels: str | os.PathLike[str] | None = None,
) -> Release:
    """Reads and validates a release of NIH ChestX-ray14, or data of one's own in its form.

    Tables, lists and radiographs are found in the folder and below it. Radiographs are matched by
    name, or else by the name without suffix, and read without extracting them from archives (.zip,
    .tar, .tar.gz) and parquet files where no folder has them.

    Args:
        root: The release's folder.
        require_images: Whether the files are needed; without them only the lists are read.
        allow_missing: Whether to leave out radiographs without a file or a place in the lists, and
            names in the lists and boxes without a row of the table.
        box_image_size: Height and width in pixels of the pictures that the box list is about; its
            boxes are scaled to the files. 0: the files themselves. None: as for 0 in a phantom, and
            where boxes reach beyond 1024 pixels and fit the files; else 1024, NIH's.
        labels: A table of labels to read in place of the release's.

    Raises:
        UserError: The folder or its table of labels is missing; or the content contradicts itself:
            names in the split lists without metadata or file, metadata in no list, unknown
            findings, boxes outside their image or without area, duplicate names, patients in both
            lists; an archive is damaged. All problems of lists that can be read are reported at
            once.
    """
    problems, files = Problems(), list_files(root)
    tables = [Path(labels).expanduser()] if labels else find_tables(root, files)
    images, notes = _read_tables(tables, problems)
    notes += [] if labels else _compare_labels(files, tables, images)
    listed = _read_lists(files, images, problems)
    if listed is None:
        images, more = _without_lists(images)
    else:
        images, more = _with_lists(images, listed, require_images and not allow_missing, problems)
    notes += more
    missing: dict[str, str] = {}
    if listed and require_images:
        unlisted = images["official_split"] == UNLISTED
        missing |= dict.fromkeys(images["image_name"][unlisted], "in neither list")
        missing |= dict.fromkeys(sorted(listed.keys() - set(images["image_name"])), "no metadata")
        images = images[~unlisted].reset_index(drop=True)
    boxes, more = _read_boxes(files, images, require_images and not allow_missing, problems)
    notes += more
    paths: dict[str, Path] = {}
    archived: dict[str, ArchivedImage] = {}
    if require_images:
        paths, archived, more = find_images(files, images["image_name"], problems)
        notes += more
        there = paths.keys() | archived.keys()
        without = [name for name in images["image_name"] if name not in there]
        if without and (not allow_missing or len(without) == len(images)):
            argument = "allow_missing" if len(without) < len(images) else None
            found = f"found there: {_contents(root, files)}"
            problems.add("radiographs without a file", without, found, argument)
        missing |= dict.fromkeys(without, "no file")
    if box_image_size is None and (root / phantom.MARKER).is_file():
        box_image_size = 0
    sizes = _picture_sizes(boxes["image_name"], paths, archived)
    boxes, more = in_png_pixels(boxes, sizes, box_image_size, problems)
    problems.raise_any(root)
    return Release(root, images, boxes, paths, missing, archived, (*notes, *more))


def find_tables(root: Path, files: Sequence[Path]) -> list[Path]:
    """Returns the table of labels: NIH's, or the only one, or one per split."""
    by_name = {path.name.lower(): path for path in reversed(files)}
    for name in _METADATA_NAMES:
        if name in by_name:
            return [by_name[name]]
    found = [path for path in files if path.suffix == ".parquet" and has_images(path)]
    found = found or [
        path for path in files if path.suffix in (".csv", ".tsv") and is_metadata(path)
    ]
    if not found:
        raise UserError(
            f"{root}: no table of labels; a release of ChestX-ray14 holds images/, "
            f"Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv), {BOXES_NAME}, {TRAIN_VAL_NAME} "
            f"and {TEST_NAME}; found there: {_contents(root, files)}"
        )
    if len(found) > 1 and not all(map(_split_in_name, found)):
        names = ", ".join(os.path.relpath(path, root) for path in found[:10])
        raise UserError(f"{root}: several tables of labels ({names}); name one", argument="labels")
    return found


def _split_in_name(path: Path) -> str | None:
    """Returns the split that a file's name has, "train", "validation" or "test"."""
    word = _SPLIT_WORD.search(path.stem)
    if word is None:
        return None
    return "validation" if word[1].lower().startswith("val") else word[1].lower()


def _read_tables(tables: Sequence[Path], problems: Problems) -> tuple[pd.DataFrame, list[str]]:
    """Returns the rows of all tables with split, "" where the file's name has none, and notes."""
    parts, notes = [], []
    for path in tables:
        table, more = read_metadata(path, problems)
        parts.append(table.assign(split=_split_in_name(path) or ""))
        notes += more
    images = pd.concat(parts, ignore_index=True)
    if len(tables) > 1:
        twice = images["image_name"][images["image_name"].duplicated()]
        problems.add("the tables of labels share images", list(twice))
    return images, notes


def _read_lists(
    files: Sequence[Path], images: pd.DataFrame, problems: Problems
) -> dict[str, tuple[str, int]] | None:
    """Returns the list and the place in it of each name; None where no list is there.

    Names are those of the table, which may have another suffix. Where one of the two lists is not
    there, it is the rest of the table.
    """
    found: dict[str, list[str]] = {}
    known = _by_stem(images)
    for split, file_name in _LISTS.items():
        if path := next((path for path in files if path.name.lower() == file_name), None):
            names = read_names(path, problems)
            found[split] = [known.get(stem(name), name) for name in names]
    if not found:
        return None
    for absent, given in (("train_val", "test"), ("test", "train_val")):
        if absent not in found:
            listed = set(found[given])
            found[absent] = [name for name in images["image_name"] if name not in listed]
    in_test = set(found["test"])
    shared = [name for name in found["train_val"] if name in in_test]
    problems.add(f"{_BOTH} share images", shared)
    return {name: (split, place) for split in _LISTS for place, name in enumerate(found[split])}


def _by_stem(images: pd.DataFrame) -> dict[str, str]:
    return {stem(name): name for name in images["image_name"]}


def _with_lists(
    images: pd.DataFrame, listed: Mapping[str, tuple[str, int]], strict: bool, problems: Problems
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the images with official_split and list_position, and notes."""
    known, notes = set(images["image_name"]), []
    for split, file_name in _LISTS.items():
        unknown = [name for name, (of, _) in listed.items() if of == split and name not in known]
        if strict:
            what = f"{file_name} names images without metadata"
            problems.add(what, unknown, argument="allow_missing")
        elif unknown:
            notes.append(f"{file_name}: {len(unknown):,} of its names have no metadata")
    unlisted = [name for name in images["image_name"] if name not in listed]
    if strict:
        what = f"the metadata have images that neither {TRAIN_VAL_NAME} nor {TEST_NAME} names"
        problems.add(what, unlisted, argument="allow_missing")
    elif unlisted:
        notes.append(f"{len(unlisted):,} radiographs are in neither of {_BOTH}")
    places = [listed.get(name, (UNLISTED, 0)) for name in images["image_name"]]
    images = images.drop(columns="split").assign(
        official_split=[split for split, _ in places],
        list_position=np.array([place for _, place in places], np.int64),
    )
    problems.add(f"{_BOTH} share patients", _shared_patients(images))
    return images, notes


def _without_lists(images: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Returns the images split as the files of their labels are, or not at all; and a note."""
    none = f"no official lists ({TRAIN_VAL_NAME}, {TEST_NAME}): "
    given = images["split"].replace("train", "train_val")
    images = images.drop(columns="split").assign(
        official_split=given, list_position=np.arange(len(images))
    )
    if {"test", "train_val"} <= set(given):
        shared = _shared_patients(images)
        if not shared:
            return images, [none + "the splits are those in the names of the files"]
        none += f"the splits in the names of the files share {len(shared):,} patients; "
    drawn = "test radiographs are drawn by patient, from the seed of the split"
    return images.assign(official_split=UNLISTED), [none + drawn]


def _shared_patients(images: pd.DataFrame) -> list[str]:
    """Returns the patients that are in several official splits."""
    listed = images[images["official_split"] != UNLISTED]
    splits = listed.groupby("patient")["official_split"].nunique()
    return sorted(map(str, splits.index[splits > 1]))


def _read_boxes(
    files: Sequence[Path], images: pd.DataFrame, strict: bool, problems: Problems
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the boxes on the table's images, as the list has them, and notes."""
    path = next((path for path in files if _BOX_LIST.fullmatch(path.name)), None)
    if path is None:
        columns = dict.fromkeys(("image_name", "finding"), "str") | dict.fromkeys("xywh", "float64")
        empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
        return empty, [f"no box list ({BOXES_NAME}): there are no annotated boxes"]
    boxes = read_boxes(path, problems)
    known = _by_stem(images)
    boxes["image_name"] = [known.get(stem(name), name) for name in boxes["image_name"]]
    is_known = boxes["image_name"].isin(images["image_name"])
    unknown = list(boxes["image_name"][~is_known].unique())
    if strict:
        what = f"{path.name} has boxes on images without metadata"
        problems.add(what, unknown, argument="allow_missing")
    elif unknown:
        note = f"{path.name}: {(~is_known).sum():,} boxes on images that are not in the table"
        return boxes.loc[is_known].reset_index(drop=True), [note]
    return boxes, []


def _compare_labels(
    files: Sequence[Path], tables: Sequence[Path], images: pd.DataFrame
) -> list[str]:
    """Returns a note for each other version of the labels that is there."""
    notes = []
    for other in files:
        if other in tables or other.name.lower() not in _METADATA_NAMES:
            continue
        note = f"labels are read from {tables[0].name}; {other.name} is there, too, "
        try:
            table = read_metadata(other, Problems())[0].drop_duplicates("image_name")
        except UserError:
            return [note + "and cannot be read"]
        ours = images.set_index("image_name")[list(FINDINGS)]
        theirs = table.set_index("image_name")
        both = ours.index.intersection(theirs.index)
        theirs = theirs.loc[both, list(FINDINGS)].to_numpy()
        differ = (ours.loc[both].to_numpy() != theirs).any(axis=1).sum()
        notes.append(note + f"with other labels on {differ:,} of {len(both):,} radiographs")
    return notes


def _contents(root: Path, files: Sequence[Path]) -> str:
    """Returns what a release's folder has beside lists, as "images/ 40 .jpg"."""
    counts = Counter(
        f"{os.path.relpath(path.parent, root)}/ {{}} {path.suffix.lower() or 'without suffix'}"
        for path in files
        if path.suffix.lower() not in (".csv", ".txt")
    )
    return ", ".join(kind.format(count) for kind, count in counts.most_common(5)) or "no pictures"


def _picture_sizes(
    names: pd.Series, paths: Mapping[str, Path], archived: Mapping[str, ArchivedImage]
) -> np.ndarray:
    """Returns (N, 2) widths and heights in pixels, infinite where no readable file has them."""
    unknown = (np.inf, np.inf)
    sizes = dict.fromkeys(names, unknown)
    for name in sizes:
        if name in archived:
            sizes[name] = archived[name].png_size or unknown
        elif name in paths:
            with suppress(UserError):
                sizes[name] = picture_size(paths[name])
    return np.array([sizes[name] for name in names], np.float64).reshape(-1, 2)
