"""VinDr-CXR (Vietnam): DICOM files with labels and boxes by radiologists.

Layout of the download from PhysioNet (vindr-cxr/1.0.0): train/ and test/ with IMAGE_ID.dicom, and
annotations/ with image_labels_train.csv (image_id,rad_id and 28 columns of 0 and 1; three lines per
image, one per radiologist), annotations_train.csv (image_id,rad_id,class_name,x_min,y_min,x_max,
y_max; pixels of the DICOM file), image_labels_test.csv and annotations_test.csv (the same without
rad_id: the consensus of five radiologists).

Source: Nguyen et al. 2022, "VinDr-CXR: An open dataset of chest X-rays with radiologist's
annotations", Scientific Data 9:429, doi 10.1038/s41597-022-01498-w.
"""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from pathlib import Path

import pandas as pd

from jaxcxr.data.releases.building import (
    build_release,
    known_labels,
    people_of_headers,
    read_csv,
)
from jaxcxr.data.releases.release import Release
from jaxcxr.errors import UserError

FINDINGS_OF = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Emphysema": "Emphysema",
    "Infiltration": "Infiltration",
    "Pleural effusion": "Effusion",
    "Pleural thickening": "Pleural_Thickening",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Pulmonary fibrosis": "Fibrosis",
}
"""VinDr-CXR's labels and our findings. Nodule/Mass is two of ours, and Lung Opacity is wider than
any of them, so both are left out as those without counterpart are; nobody annotated hernias."""

_SPLITS = {"train": "train_val", "test": "test"}


def recognizes(root: Path) -> bool:
    """Returns whether a table of labels is there."""
    return any(_annotations(root, f"image_labels_{split}.csv").is_file() for split in _SPLITS)


def read(root: Path, *, require_images: bool = True, allow_missing: bool = False) -> Release:
    """Reads a release.

    A label of the training set is that of the majority of its radiologists, unknown where they are
    divided in two halves. All radiologists' boxes of findings that the majority sees are kept as
    they are drawn; those of the test set, which localization is scored on, are of the consensus.

    Args:
        root: The folder of train/, test/ and annotations/.
        require_images: Whether the radiographs are needed.
        allow_missing: Whether some of them may be without a file.

    Raises:
        UserError: A table is missing or wrong, or radiographs are missing.
    """
    parts, boxes, files = [], [], {}
    for split, official in _SPLITS.items():
        labels_path = _annotations(root, f"image_labels_{split}.csv")
        if not labels_path.is_file():
            continue
        table = read_csv(labels_path, ["image_id", *FINDINGS_OF])
        names = table["image_id"] + ".dicom"
        votes = known_labels(table, FINDINGS_OF).groupby(names, sort=False).mean()
        labels = votes.where(votes != 0.5).round()  # 2 of 3 is 1
        images = labels.rename_axis("image_name").reset_index()
        parts.append(images.assign(patient=images["image_name"], official_split=official))
        files |= {name: root / split / name for name in images["image_name"]}
        boxes.append(_boxes(_annotations(root, f"annotations_{split}.csv"), labels))
    if not parts:
        raise UserError(f"{root}: no annotations/image_labels_train.csv; name the folder above it")
    images = pd.concat(parts, ignore_index=True).assign(view="PA")  # all are, by the article
    if require_images:
        images = images.join(people_of_headers(files)[["age", "sex"]], on="image_name")
    return build_release(
        root, "vindr", images, files, boxes=pd.concat(boxes),
        require_images=require_images, allow_missing=allow_missing,
        notes=["VinDr-CXR does not say which radiographs are of one patient: each counts as one"],
    )  # fmt: skip


def _annotations(root: Path, name: str) -> Path:
    """Returns the path of a table, in annotations/ or beside the radiographs' folders."""
    return next((path for path in [root / name] if path.is_file()), root / "annotations" / name)


def _boxes(path: Path, labels: pd.DataFrame) -> pd.DataFrame:
    """Returns the boxes of our findings where they are present by the labels."""
    corners = ["x_min", "y_min", "x_max", "y_max"]
    table = read_csv(path, ["image_id", "class_name", *corners])
    sides = table[corners].apply(pd.to_numeric, errors="coerce")
    left, top, right, bottom = (sides[corner] for corner in corners)
    boxes = pd.DataFrame(
        {
            "image_name": table["image_id"] + ".dicom",
            "finding": table["class_name"].map(FINDINGS_OF),
            "x": left,
            "y": top,
            "w": right - left,
            "h": bottom - top,
        }
    ).dropna(subset="finding")
    present = labels.stack()
    present = present.index[present == 1]
    return boxes[pd.MultiIndex.from_frame(boxes[["image_name", "finding"]]).isin(present)]
