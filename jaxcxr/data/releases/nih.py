"""Reading a release of NIH ChestX-ray14: what its lists say, and where its radiographs lie.

Source: Wang et al. 2017 (ChestX-ray8), and the files as NIH and Kaggle distribute them.
"""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.data.releases.archives import ArchivedImage, find_archives, list_images
from jaxcxr.data.releases.nih_lists import describe_boxes, read_boxes, read_metadata, read_names
from jaxcxr.data.releases.problems import Problem, raise_problems
from jaxcxr.errors import UserError
from jaxcxr.images.radiograph import picture_size

METADATA_NAMES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOXES_NAME = "BBox_List_2017.csv"
TRAIN_VAL_NAME = "train_val_list.txt"
TEST_NAME = "test_list.txt"


@dataclasses.dataclass(frozen=True, eq=False)
class Release:
    """A release whose lists agree with each other.

    Attributes:
        root: Its folder.
        images: One row per radiograph in the metadata's order: image_name, patient, age (years),
            sex ("F", "M"), view ("PA", "AP"), follow_up, a uint8 column per name in `FINDINGS`,
            official_split ("train_val", "test") and list_position, the row's place in that list.
        boxes: One row per annotated box in file order: image_name, finding, x, y, w, h (float
            pixels of the PNG, origin top left).
        image_paths: File of each radiograph by name; empty where images were not asked for.
        missing: Names of `images` without a file (a partial download); empty likewise.
        archived: Those of which an archive holds the file, where no folder does.
    """

    root: Path
    images: pd.DataFrame
    boxes: pd.DataFrame
    image_paths: Mapping[str, Path]
    missing: tuple[str, ...] = ()
    archived: Mapping[str, ArchivedImage] = dataclasses.field(default_factory=dict)


def read_release(
    root: str | os.PathLike[str], *, require_images: bool = True, allow_missing: bool = False
) -> Release:
    """Reads and validates a release in the official layout (images/) or Kaggle's (images_001/…).

    The archives images_001.tar.gz … are read as they are where the folders lack radiographs; a file
    in a folder goes before one in an archive.

    Args:
        root: The release's folder.
        require_images: Whether the PNG files are needed; without them only the lists are read.
        allow_missing: Whether radiographs of the lists may lack a file.

    Raises:
        UserError: The folder or a list is missing; or the content contradicts itself: names in the
            split lists without metadata or file, metadata in no list, unknown findings, boxes
            outside their image or without area, duplicate names, patients in both lists; an archive
            is damaged or holds what no release does. All problems are told at once.
    """
    root = Path(root).expanduser()
    metadata_path = _find_lists(root)
    (images, boxes, train_val, test), problems = _read_lists(root, metadata_path)
    problems += _compare_lists(metadata_path.name, images, train_val, test)
    paths: dict[str, Path] = {}
    archived: dict[str, ArchivedImage] = {}
    missing: list[str] = []
    if require_images:
        paths, twice = _find_images(root)
        problems.append(Problem("images lie in two folders", twice))
        missing = [name for name in images["image_name"] if name not in paths]
        if missing:
            archived, archive_problems = _find_archived(root, missing)
            problems += archive_problems
            missing = [name for name in missing if name not in archived]
        if not allow_missing or len(missing) == len(images):
            problems.append(
                Problem("radiographs without a PNG file in images/ or an archive", missing)
            )
    problems += _compare_boxes(boxes, images, paths, archived)
    raise_problems(root, problems)
    images = _with_lists(images, train_val, test)
    return Release(root, images, boxes, paths, tuple(missing), archived)


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
    lacking = [
        name for name in (BOXES_NAME, TRAIN_VAL_NAME, TEST_NAME) if not (root / name).is_file()
    ]
    if not metadata:
        lacking.insert(0, METADATA_NAMES[0])
    if lacking:
        raise UserError(f"{root} lacks {', '.join(lacking)}; {holds}")
    return metadata[0]


def _read_lists(root: Path, metadata_path: Path) -> tuple[list[Any], list[Problem]]:
    """Returns what the four lists hold, and what is wrong in them.

    Raises:
        UserError: One cannot be read at all, so that they cannot be compared.
    """
    readers: list[tuple[Callable[[Path], tuple[Any, list[Problem]]], Path]] = [
        (read_metadata, metadata_path),
        (read_boxes, root / BOXES_NAME),
        (read_names, root / TRAIN_VAL_NAME),
        (read_names, root / TEST_NAME),
    ]
    lists, problems, refused = [], [], []
    for read, path in readers:
        try:
            content, wrong = read(path)
        except UserError as error:
            refused.append(str(error))
        else:
            lists.append(content)
            problems += wrong
    if refused:
        raise_problems(root, [Problem("lists that cannot be read", refused), *problems])
    return lists, problems


def _find_images(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Returns the PNG files by name, and the names that more than one folder holds."""
    found: dict[str, Path] = {}
    twice = []
    for folder in (
        root / "images",
        *sorted(root.glob("images_*")),
        *sorted(root.glob("images_*/images")),
    ):
        for name in _png_names(folder):
            if name in found:
                twice.append(name)
            found.setdefault(name, folder / name)
    return found, twice


def _find_archived(
    root: Path, wanted: Sequence[str]
) -> tuple[dict[str, ArchivedImage], list[Problem]]:
    """Returns the wanted radiographs that archives hold, and what is wrong with archives."""
    images, problems = list_images(find_archives(root))
    found: dict[str, ArchivedImage] = {}
    twice = []
    for image in images:
        if found.setdefault(image.image_name, image) is not image:
            twice.append(f"{image.image_name} in {image.archive.name}")
    problems.append(Problem("images lie twice in archives", twice))
    return {name: found[name] for name in wanted if name in found}, problems


def _png_names(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(".png") and entry.is_file():
                yield entry.name


def _compare_lists(
    metadata_name: str, images: pd.DataFrame, train_val: list[str], test: list[str]
) -> list[Problem]:
    known, in_test = set(images["image_name"]), set(test)
    listed = in_test.union(train_val)
    held_out = images["image_name"].isin(in_test)
    both = set(images["patient"][held_out]) & set(images["patient"][~held_out])
    lists = f"{TRAIN_VAL_NAME} and {TEST_NAME}"
    return [
        *(
            Problem(f"{name} names images without metadata in {metadata_name}", lacking)
            for name, names in ((TRAIN_VAL_NAME, train_val), (TEST_NAME, test))
            if (lacking := [image for image in names if image not in known])
        ),
        Problem(
            f"{metadata_name} has images that neither {TRAIN_VAL_NAME} nor {TEST_NAME} names",
            [name for name in images["image_name"] if name not in listed],
        ),
        Problem(f"{lists} share images", [name for name in train_val if name in in_test]),
        Problem(f"{lists} share patients", [str(patient) for patient in sorted(both)]),
    ]


def _compare_boxes(
    boxes: pd.DataFrame,
    images: pd.DataFrame,
    paths: Mapping[str, Path],
    archived: Mapping[str, ArchivedImage],
) -> list[Problem]:
    unknown = ~boxes["image_name"].isin(images["image_name"])
    right, bottom = boxes["x"] + boxes["w"], boxes["y"] + boxes["h"]
    width, height = _picture_sizes(boxes["image_name"], paths, archived)
    # Annotators' rounding may reach half a pixel over the edge.
    outside = (boxes[["x", "y"]].min(axis="columns") < -0.5) | (
        (right > width + 0.5) | (bottom > height + 0.5)
    )
    return [
        Problem(
            f"{BOXES_NAME} has boxes on images without metadata",
            list(boxes["image_name"][unknown].unique()),
        ),
        Problem(f"{BOXES_NAME} has boxes outside their image", describe_boxes(boxes[outside])),
    ]


def _picture_sizes(
    names: pd.Series, paths: Mapping[str, Path], archived: Mapping[str, ArchivedImage]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns widths and heights in pixels, infinite where no readable file tells them."""
    unknown = (np.inf, np.inf)
    sizes = {}
    for name in names.unique():
        if name in archived:
            sizes[name] = archived[name].png_size or unknown
            continue
        try:
            sizes[name] = picture_size(paths[name])
        except (KeyError, UserError):
            sizes[name] = unknown
    table = np.array([sizes[name] for name in names], np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _with_lists(images: pd.DataFrame, train_val: list[str], test: list[str]) -> pd.DataFrame:
    in_test = images["image_name"].isin(set(test))
    position = {name: place for names in (train_val, test) for place, name in enumerate(names)}
    return images.assign(
        official_split=np.where(in_test, "test", "train_val"),
        list_position=images["image_name"].map(position).astype(np.int64),
    )
