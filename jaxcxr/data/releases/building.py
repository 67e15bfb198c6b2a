"""What readers of other sources than NIH share: reading a CSV file, and completing a release."""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data.releases.nih_lists import PARSERS
from jaxcxr.data.releases.problems import Problems
from jaxcxr.data.releases.release import UNKNOWN, UNKNOWN_AGE, Release
from jaxcxr.data.splits import UNLISTED
from jaxcxr.errors import UserError
from jaxcxr.files import reason_of
from jaxcxr.findings import FINDINGS

_BOX_COLUMNS = {"image_name": "str", "finding": "str"} | dict.fromkeys("xywh", np.float64)
_TAGS = {"age": "PatientAge", "sex": "PatientSex", "view": "ViewPosition"}
_NOT_KNOWN = {"age": UNKNOWN_AGE, "sex": UNKNOWN, "view": UNKNOWN, "follow_up": 0}


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Reads a CSV file with a header as text; empty fields are NaN.

    Raises:
        UserError: The file cannot be read as a table, or has no column of such a name.
    """
    try:
        table = pd.read_csv(path, encoding="utf-8-sig", dtype=str)
    except (OSError, ValueError) as error:  # ValueError: also pandas' and of the encoding
        raise UserError(
            f"{path} cannot be read as a table ({reason_of(error):.200}); download it again"
        ) from error
    if missing := [name for name in columns if name not in table]:
        raise UserError(
            f"{path}: no column {missing[0]!r} in the header; expected {', '.join(columns)}"
        )
    return table


def known_labels(table: pd.DataFrame, mapping: Mapping[str, str]) -> pd.DataFrame:
    """Returns the columns of a source's labels under our names, NaN where they are not 0 or 1."""
    labels = table[list(mapping)].rename(columns=dict(mapping))
    labels = labels.apply(pd.to_numeric, errors="coerce")
    return labels.where(labels.isin([0, 1])).astype(np.float32)


def people_of_headers(files: Mapping[str, Path]) -> pd.DataFrame:
    """Returns age, sex and view by name, as `Release.images` has them, from DICOM headers."""
    rows = {name: _header(path) for name, path in files.items()}
    return pd.DataFrame.from_dict(rows, orient="index").fillna({"age": UNKNOWN_AGE})


def _header(path: Path) -> dict[str, int | str | None]:
    found = dict.fromkeys(_TAGS, "")
    with suppress(Exception):  # files that cannot be read are named where their pixels are
        from pydicom import dcmread

        tags = [*_TAGS.values()]
        header = dcmread(path, force=True, stop_before_pixels=True, specific_tags=tags)
        for field, tag in _TAGS.items():
            if tag in header:  # the bytes, as pydicom warns of RSNA's ages, which have no unit
                found[field] = header.get_item(tag).value.decode("ascii").strip(" \0")
    return {field: PARSERS[field][0](text) for field, text in found.items()}


def build_release(
    root: Path,
    source: str,
    images: pd.DataFrame,
    files: Mapping[str, Path],
    *,
    boxes: pd.DataFrame | None = None,
    require_images: bool,
    allow_missing: bool,
    notes: Sequence[str] = (),
) -> Release:
    """Completes what a reader found to a release.

    Args:
        root: The release's folder.
        source: Name of the reader.
        images: One row per radiograph: image_name, patient and a column for each of `FINDINGS` that
            the source annotates, NaN where unknown; the others are unknown. As far as they are
            known also age, sex, view, follow_up and official_split, as `Release.images` has them.
        files: Where the file of each radiograph should lie, by name.
        boxes: image_name, finding, x, y, w, h, in pixels of the files; None for none.
        require_images: Whether the files are needed.
        allow_missing: Whether some of them may be missing.
        notes: What was decided on the way that may surprise, one line each.

    Raises:
        UserError: There are no radiographs, one occurs twice, files are missing, or a box has no
            area or no radiograph.
    """
    problems = Problems()
    names = images["image_name"]
    problems.add("radiographs that occur twice", list(names[names.duplicated()].unique()))
    given = {name: images.get(name, value) for name, value in _NOT_KNOWN.items()}
    labels = {
        name: images.get(name, pd.Series(np.nan, images.index)).astype(np.float32)
        for name in FINDINGS
    }
    complete = pd.DataFrame(
        {"image_name": names, "patient": images["patient"], **given, **labels}, images.index
    ).assign(
        official_split=images.get("official_split", UNLISTED), list_position=np.arange(len(images))
    )
    listed = pd.DataFrame(boxes, columns=[*_BOX_COLUMNS])
    sides = listed[[*"xywh"]].apply(pd.to_numeric, errors="coerce")
    listed = listed.assign(**sides).astype(_BOX_COLUMNS).reset_index(drop=True)
    wrong = sides.isna().any(axis=1) | (sides[["w", "h"]] <= 0).any(axis=1)
    where = list(listed["image_name"][wrong.to_numpy()].unique())
    problems.add("radiographs with boxes of zero area or without numbers", where)
    lost = listed["image_name"][~listed["image_name"].isin(names)]
    problems.add("boxes on radiographs without labels", list(lost.unique()))
    paths = {name: files[name] for name in names if files[name].is_file()} if require_images else {}
    lacking = [name for name in names if name not in paths] if require_images else []
    if lacking and (not allow_missing or not paths):
        where = [str(files[name]) for name in lacking]
        problems.add("radiographs without a file", where, argument="allow_missing")
    problems.raise_any(root)
    missing = dict.fromkeys(lacking, "no file")
    return Release(root, complete, listed, paths, missing, {}, tuple(notes), source)
