"""RSNA Pneumonia Detection Challenge 2018: DICOM files with boxes of pneumonia by radiologists.

Layout of the download from Kaggle: stage_2_train_images/PATIENT_ID.dcm (1024×1024) and
stage_2_train_labels.csv (patientId,x,y,width,height,Target: a line per box, Target 1; or one
without box, Target 0). stage_2_detailed_class_info.csv, which divides Target 0 into "Normal" and
"No Lung Opacity / Not Normal", is not needed; the labels of stage_2_test_images/ are not published.

Source: Shih et al. 2019, Radiology: Artificial Intelligence, doi 10.1148/ryai.2019180041; the
challenge's page on Kaggle, rsna-pneumonia-detection-challenge.
"""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
# pyright: reportCallIssue=false, reportIndexIssue=false

from __future__ import annotations

from pathlib import Path

from jaxcxr.data.releases.building import (
    build_release,
    known_labels,
    people_of_headers,
    read_csv,
)
from jaxcxr.data.releases.release import Release

FINDINGS_OF = {"Target": "Pneumonia"}
"""Target is an opacity that radiologists took for possible pneumonia. Nothing else is annotated, so
that all other findings are unknown, also where the class is "Normal"."""

_LABELS = "stage_2_train_labels.csv"


def recognizes(root: Path) -> bool:
    """Returns whether the table of labels is there."""
    return (root / _LABELS).is_file()


def read(root: Path, *, require_images: bool = True, allow_missing: bool = False) -> Release:
    """Reads a release; it has no official test list with labels.

    Args:
        root: The folder of stage_2_train_labels.csv.
        require_images: Whether the radiographs are needed.
        allow_missing: Whether some of them may be without a file.

    Raises:
        UserError: The table is missing or wrong, or radiographs are missing.
    """
    table = read_csv(root / _LABELS, ["patientId", "x", "y", "width", "height", *FINDINGS_OF])
    names = table["patientId"] + ".dcm"
    labels = known_labels(table, FINDINGS_OF).groupby(names, sort=False).max()
    images = labels.rename_axis("image_name").reset_index()
    images["patient"] = images["image_name"].str.removesuffix(".dcm")
    files = {name: root / "stage_2_train_images" / name for name in images["image_name"]}
    if require_images:
        images = images.join(people_of_headers(files), on="image_name")
    drawn = table.rename(columns={"width": "w", "height": "h"}).assign(
        image_name=names, finding=FINDINGS_OF["Target"]
    )
    return build_release(
        root, "rsna", images, files,
        boxes=drawn[known_labels(table, FINDINGS_OF)["Pneumonia"] == 1],
        require_images=require_images, allow_missing=allow_missing,
        notes=[
            "RSNA's radiographs are also in NIH ChestX-ray14, under other names: scores on them of "
            "a network trained on NIH are not those of another hospital"
        ],
    )  # fmt: skip
