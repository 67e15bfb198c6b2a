"""CheXpert (Stanford): radiographs in JPEG files with labels taken from the reports.

Layout of the download (CheXpert-v1.0, CheXpert-v1.0-small): train.csv, valid.csv, train/ and
valid/; with the test set, as CheXlocalize has it, test_labels.csv and test/ (val_labels.csv and
val/ in place of valid.csv and valid/). Header: Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,…;
the test file has neither sex, age nor view. Labels are 1 (present), 0 (absent), -1 (uncertain) or
blank (not mentioned).

Source: Irvin et al. 2019 (arXiv 1901.07031); Saporta et al. 2022 (CheXlocalize); the files are read
as torchxrayvision's `CheX_Dataset` does, which also takes blank labels of "No Finding" as absent.
"""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportOperatorIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data.releases.building import build_release, known_labels, read_csv
from jaxcxr.data.releases.release import UNKNOWN, UNKNOWN_AGE, Release
from jaxcxr.errors import UserError

FINDINGS_OF = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Pleural Effusion": "Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
}
"""CheXpert's observations and our findings. Left out are those that are wider than any of ours:
Lung Opacity, Lung Lesion (nodule or mass) and Pleural Other (thickening or others), and those
without counterpart: Enlarged Cardiomediastinum, Fracture, Support Devices."""

_TABLES = {
    "train": ("train.csv",),
    "validation": ("valid.csv", "val_labels.csv"),
    "test": ("test_labels.csv",),
}
_PLACE = r"(train|valid|val|test)/(patient([0-9]+)/study([0-9]+)/[^/]+)$"
_SEXES = {"Female": "F", "Male": "M"}


def recognizes(root: Path) -> bool:
    """Returns whether one of the tables is there and begins as CheXpert's do."""
    return any(_is_table(root / name) for names in _TABLES.values() for name in names)


def _is_table(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[:500].decode("utf-8", "replace").startswith(
        ("Path,Sex,Age,Frontal/Lateral,AP/PA", "Path,No Finding", "Path,Enlarged Cardiomediastinum")
    )


def read(root: Path, *, require_images: bool = True, allow_missing: bool = False) -> Release:
    """Reads a release; lateral radiographs are left out.

    With the test set, the official validation set is for validation; without, it is the test set.

    Args:
        root: The folder of train.csv and valid.csv.
        require_images: Whether the radiographs are needed.
        allow_missing: Whether some of them may be without a file.

    Raises:
        UserError: A table is missing or wrong, or radiographs are missing.
    """
    parts, notes, files = [], [], {}
    found = {
        split: path
        for split, names in _TABLES.items()
        for path in [next((root / name for name in names if (root / name).is_file()), None)]
        if path is not None
    }
    if not found:
        raise UserError(f"{root}: no train.csv, valid.csv or test_labels.csv; name their folder")
    for split, path in found.items():
        table = read_csv(path, ["Path", *FINDINGS_OF])
        place = table["Path"].str.extract(_PLACE)
        if place.isna().to_numpy().any():
            wrong = table["Path"][place[0].isna()].iloc[0]
            raise UserError(
                f"{path}: Path is {wrong!r}; expected train/patient00001/study1/view1_frontal.jpg"
            )
        lateral = table.get("Frontal/Lateral", table["Path"]).str.contains("lateral", case=False)
        if lateral.any():
            notes.append(f"{path.name}: {lateral.sum():,} lateral radiographs are left out")
        parts.append(_images(table, place, split)[~lateral])
        for folder, name in zip(place[0], place[1], strict=True):
            file = root / folder / name
            copied = root / "val" / name  # CheXlocalize's folder of the files in valid/
            files[name] = copied if folder == "valid" and not file.exists() else file
    images = pd.concat(parts, ignore_index=True)
    if "test" not in found:
        images["official_split"] = images["official_split"].replace("validation", "test")
    return build_release(
        root, "chexpert", images, files,
        require_images=require_images, allow_missing=allow_missing, notes=notes,
    )  # fmt: skip


def _images(table: pd.DataFrame, place: pd.DataFrame, split: str) -> pd.DataFrame:
    """Returns the rows of `Release.images` as far as CheXpert gives them."""
    labels = known_labels(table, FINDINGS_OF)
    if "No Finding" in table:
        labels[pd.to_numeric(table["No Finding"], errors="coerce") == 1] = 0
    unknown = pd.Series(UNKNOWN, table.index)
    age = pd.to_numeric(table.get("Age", unknown), errors="coerce")
    return labels.assign(
        image_name=place[1],
        patient=place[2].astype(np.int64),
        follow_up=place[3].astype(np.int64) - 1,
        age=age.where(age > 0, UNKNOWN_AGE).astype(np.int64),  # 0 stands for no age
        sex=table.get("Sex", unknown).map(_SEXES).fillna(UNKNOWN),
        view=table.get("AP/PA", unknown).where(lambda view: view.isin(["AP", "PA"]), UNKNOWN),
        official_split={"train": "train_val"}.get(split, split),
    )
