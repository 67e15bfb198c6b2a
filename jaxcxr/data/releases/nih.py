"""Reading a release of NIH ChestX-ray14: what its lists say, and where its radiographs lie.

Source: Wang et al. 2017 (ChestX-ray8), and the files as NIH and Kaggle distribute them.
"""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data import phantom
from jaxcxr.data.releases.archives import ArchivedImage, find_archives, list_images
from jaxcxr.data.releases.box_pixels import BOXES_NAME, in_png_pixels
from jaxcxr.data.releases.nih_lists import read_boxes, read_metadata, read_names
from jaxcxr.data.releases.problems import Problems
from jaxcxr.data.releases.release import Release
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.radiograph import picture_size

METADATA_NAMES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
TRAIN_VAL_NAME = "train_val_list.txt"
TEST_NAME = "test_list.txt"


def recognizes(root: Path) -> bool:
    """Returns whether the folder has NIH's metadata."""
    return any((root / name).is_file() for name in METADATA_NAMES)


def read(
    root: Path,
    *,
    require_images: bool = True,
    allow_missing: bool = False,
    box_image_size: int | None = None,
) -> Release:
    """Reads and validates a release in the official layout (images/) or Kaggle's (images_001/…).

    Archives (.tar.gz, .zip) are read without extracting them where radiographs are missing in the
    folders; a file in a folder takes precedence over one in an archive.

    Args:
        root: The release's folder.
        require_images: Whether the PNG files are needed; without them only the lists are read.
        allow_missing: Whether radiographs of the lists may be without a file.
        box_image_size: Height and width in pixels of the pictures that the box list is about; its
            boxes are scaled to the PNG files. 0: the PNG files themselves. None: as for 0 in a
            phantom, and where boxes reach beyond 1024 pixels and fit the PNG files; else 1024,
            NIH's.

    Raises:
        UserError: The folder or a list is missing; or the content contradicts itself: names in the
            split lists without metadata or file, metadata in no list, unknown findings, boxes
            outside their image or without area, duplicate names, patients in both lists; an archive
            is damaged. All problems of lists that can be read are reported at once.
    """
    metadata_path = _find_lists(root)
    problems = Problems()
    images = read_metadata(metadata_path, problems)
    boxes = read_boxes(root / BOXES_NAME, problems)
    train_val, test = (read_names(root / name, problems) for name in (TRAIN_VAL_NAME, TEST_NAME))
    _compare_lists(metadata_path.name, images, boxes, train_val, test, problems)
    paths: dict[str, Path] = {}
    archived: dict[str, ArchivedImage] = {}
    missing: list[str] = []
    if require_images:
        paths, archived = _find_files(root, images["image_name"], problems)
        found = paths.keys() | archived.keys()
        missing = [name for name in images["image_name"] if name not in found]
        if missing and (not allow_missing or len(missing) == len(images)):
            what = "radiographs without a PNG file in images/ or an archive"
            argument = "allow_missing" if len(missing) < len(images) else None
            problems.add(what, missing, f"found there: {_contents(root)}", argument)
    if box_image_size is None and (root / phantom.MARKER).is_file():
        box_image_size = 0
    sizes = _picture_sizes(boxes["image_name"], paths, archived)
    boxes, notes = in_png_pixels(boxes, sizes, box_image_size, problems)
    problems.raise_any(root)
    notes += _compare_labels(root, metadata_path, images)
    images = _with_lists(images, train_val, test)
    return Release(root, images, boxes, paths, tuple(missing), archived, tuple(notes))


def _find_lists(root: Path) -> Path:
    """Returns the metadata file's path, after making sure that all four lists are there."""
    holds = (
        "a ChestX-ray14 release holds images/ (or images_001.tar.gz …), "
        f"{METADATA_NAMES[0]} (or {METADATA_NAMES[1]}), {BOXES_NAME}, {TRAIN_VAL_NAME} and "
        f"{TEST_NAME}"
    )
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {holds}")
    metadata = [root / name for name in METADATA_NAMES if (root / name).is_file()]
    others = (BOXES_NAME, TRAIN_VAL_NAME, TEST_NAME)
    missing = [] if metadata else [METADATA_NAMES[0]]
    missing += [name for name in others if not (root / name).is_file()]
    if missing:
        raise UserError(f"{root}: no {', no '.join(missing)} there; {holds}")
    return metadata[0]


def _find_files(
    root: Path, names: pd.Series, problems: Problems
) -> tuple[dict[str, Path], dict[str, ArchivedImage]]:
    """Returns the PNG files in folders by name, and of the rest those in archives."""
    paths: dict[str, Path] = {}
    twice = []
    for folder in (root / "images", *sorted(root.glob("images_*")), *root.glob("images_*/images")):
        for path in folder.glob("*.[pP][nN][gG]"):
            if paths.setdefault(path.name, path) is not path:
                twice.append(path.name)
    problems.add("images lie in two folders", twice)
    wanted = set(names) - paths.keys()
    archived: dict[str, ArchivedImage] = {}
    twice = []
    for image in list_images(find_archives(root), problems) if wanted else ():
        name = image.name
        if name in wanted and archived.setdefault(name, image) is not image:
            twice.append(f"{name} in {image.archive.name}")
    problems.add("images lie twice in archives", twice)
    return paths, archived


def _contents(root: Path) -> str:
    """Returns what a release's folder has beside lists, as "images/ 40 .jpg"."""
    counts = Counter(
        f"{os.path.relpath(folder, root)}/ {{}} {suffix or 'without suffix'}"
        for folder, _, names in os.walk(root)
        for name in names
        if (suffix := os.path.splitext(name)[1].lower()) not in (".csv", ".txt")
    )
    return ", ".join(kind.format(count) for kind, count in counts.most_common(5)) or "no pictures"


def _compare_lists(
    metadata_name: str,
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    train_val: list[str],
    test: list[str],
    problems: Problems,
) -> None:
    known, in_test = set(images["image_name"]), set(test)
    for name, names in ((TRAIN_VAL_NAME, train_val), (TEST_NAME, test)):
        unknown = [image for image in names if image not in known]
        problems.add(f"{name} names images without metadata in {metadata_name}", unknown)
    listed = in_test.union(train_val)
    problems.add(
        f"{metadata_name} has images that neither {TRAIN_VAL_NAME} nor {TEST_NAME} names",
        [name for name in images["image_name"] if name not in listed],
    )
    lists = f"{TRAIN_VAL_NAME} and {TEST_NAME}"
    problems.add(f"{lists} share images", [name for name in train_val if name in in_test])
    held_out = images["image_name"].isin(in_test)
    both = set(images["patient"][held_out]) & set(images["patient"][~held_out])
    problems.add(f"{lists} share patients", sorted(both))
    unknown = boxes["image_name"][~boxes["image_name"].isin(known)].unique()
    problems.add(f"{BOXES_NAME} has boxes on images without metadata", list(unknown))


def _compare_labels(root: Path, metadata_path: Path, images: pd.DataFrame) -> list[str]:
    """Returns a note where both versions of the labels are there."""
    (other,) = (root / name for name in METADATA_NAMES if name != metadata_path.name)
    if not other.is_file():
        return []
    note = f"labels are read from {metadata_path.name}; {other.name} is there, too, "
    try:
        table = read_metadata(other, Problems()).drop_duplicates("image_name")
    except UserError:
        return [note + "and cannot be read"]
    ours = images.set_index("image_name")[list(FINDINGS)]
    theirs = table.set_index("image_name")
    both = ours.index.intersection(theirs.index)
    theirs = theirs.loc[both, list(FINDINGS)].to_numpy()
    differ = (ours.loc[both].to_numpy() != theirs).any(axis=1).sum()
    return [note + f"with other labels on {differ:,} of {len(both):,} radiographs"]


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


def _with_lists(images: pd.DataFrame, train_val: list[str], test: list[str]) -> pd.DataFrame:
    in_test = images["image_name"].isin(set(test))
    position = {name: place for names in (train_val, test) for place, name in enumerate(names)}
    return images.assign(
        patient=images["patient"].astype(np.int64),
        official_split=np.where(in_test, "test", "train_val"),
        list_position=images["image_name"].map(position).astype(np.int64),
    )
