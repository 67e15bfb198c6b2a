"""The lists of a release as tables: metadata, boxes, and the two official split lists.

Columns are found by their names, in any order; the separator and the encoding by the content, as
spreadsheets write them. What is missing or blank about a person is unknown.
"""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
# pyright: reportCallIssue=false

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data.releases.parquet import read_parquet_table
from jaxcxr.data.releases.problems import Problems
from jaxcxr.data.releases.release import UNKNOWN, UNKNOWN_AGE
from jaxcxr.errors import UserError
from jaxcxr.evaluation.fields import column_of, parse_fields, read_fields, read_text
from jaxcxr.findings import FINDINGS, NO_FINDING, canonical_finding, label_vector

_METADATA = {
    "image_name": ("imagename", "imageindex", "imageid", "image", "filename"),
    "labels": ("findinglabels", "labelnames", "labels", "label"),
    "follow_up": ("followup", "scanid"),
    "patient": ("patientid", "patient"),
    "age": ("patientage", "age"),
    "sex": ("patientgender", "patientsex", "gender", "sex"),
    "view": ("viewposition", "view"),
}
"""Columns, and the names of each in files, as `evaluation.fields.key` has them."""

NAMES = {"image_name": _METADATA["image_name"]}

_BOXES = NAMES | {
    "finding": ("findinglabel", "finding", "label"),
    "x": ("bboxx", "x"),
    "y": ("y",),
    "w": ("w", "width"),
    "h": ("h", "height"),
}

ORIGINAL_SIZE = {
    "width": ("originalimagewidth", "originalwidth"),
    "height": ("originalimageheight", "originalheight", "height"),
}
"""Columns of the originals' sizes; NIH's header has an unquoted comma within [Width,Height]."""

_REMEDY = "download it again"
_FILE_NAME = r"[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]{0,199}"
_NIH_NAME = r"0*([0-9]+)_[0-9]{3}(?:\.[a-z]+)?"
_BLANK = ("", "nan", "na", "n/a", "none", "null", "unknown", "-")
_LABELS = {
    **dict.fromkeys(("0", "0.0", "false"), 0),
    **dict.fromkeys(("1", "1.0", "true"), 1),
    **dict.fromkeys(("-1", "-1.0", *_BLANK), -1),
}
_YEARS = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}
"""How many of each unit a year has; units are those of DICOM's ages."""


def read_metadata(path: Path, problems: Problems) -> tuple[pd.DataFrame, list[str]]:
    """Reads `Data_Entry_2017_v2020.csv`, the older one, or a table of one's own in their form.

    Labels are a column of findings joined by "|", or a column of 0 and 1 per finding.

    Returns:
        One row per radiograph in file order, with the first columns of `Release.images`; sex is
        "F", "M", "other" or unknown, view "PA", "AP", "lateral", "other" or unknown, and ages are
        the file's: the older version has some of up to 414 years. Then notes, one line each.

    Raises:
        UserError: The file cannot be read as such a table at all.
    """
    table = read_table(path)
    if not _is_metadata(table):
        raise UserError(
            f"{path}: begins with {','.join(table.columns)[:120]!r}; expected columns Image Index "
            "and Finding Labels, or Image Index and one column per finding"
        )
    rows = pick(table, _METADATA)
    names = rows["image_name"]
    _require_file_names(path, names, problems)
    labels = _read_labels(path, rows, table, problems)
    rows, notes = rows.reindex(columns=[*_METADATA], fill_value=""), []
    rows["patient"] = rows["patient"].str.replace(r"^0*([0-9]+)(\.0+)?$", r"\1", regex=True)
    rows["patient"], more = _patients(path, names, rows["patient"])
    notes += more
    if rows["patient"].str.fullmatch("[0-9]{1,9}").all():
        rows["patient"] = rows["patient"].astype(np.int64)
    for column, (parse, expected) in PARSERS.items():
        values = {text: parse(text) for text in rows[column].unique()}
        wrong = rows[column].map(values).isna()
        _add_wrong_values(path, rows, column, wrong, expected, problems)
        rows[column] = rows[column].map(values).fillna(UNKNOWN_AGE)
        read_as = [text for text in values if values[text] not in (text, UNKNOWN)]
        if column == "view" and read_as:
            shown = ", ".join(f"{text!r} as {values[text]}" for text in read_as[:5])
            notes.append(f"{path.name}: views are read as PA, AP, lateral or other: {shown}")
    order = ["image_name", "patient", *PARSERS]
    return pd.concat([rows[order], labels], axis="columns"), notes


def is_metadata(path: Path) -> bool:
    """Returns whether a file is a table of labels."""
    with suppress(UserError):
        return _is_metadata(read_table(path))
    return False


def _is_metadata(table: pd.DataFrame) -> bool:
    rows = pick(table, _METADATA)
    return "image_name" in rows and ("labels" in rows or any(map(_known, table.columns)))


def _patients(path: Path, names: pd.Series, patients: pd.Series) -> tuple[pd.Series, list[str]]:
    """Returns the patients, of radiographs without one by NIH's names, or each as its own."""
    unknown = patients.str.lower().isin(_BLANK)
    if not unknown.any():
        return patients, []
    of_names = names.str.extract(_NIH_NAME + "$", expand=False)
    alone = (unknown & of_names.isna()).sum()
    note = (
        f"{path.name}: {unknown.sum():,} radiographs have no patient; it is taken from names such "
        "as 00000001_000.png"
    )
    if alone:
        note += f"; {alone:,} have none, and count as a patient each"
    return patients.mask(unknown, of_names.fillna(names)), [note]


def _whole(text: str) -> int | None:
    if text.lower() in _BLANK:
        return UNKNOWN_AGE
    return int(text.split(".")[0]) if re.fullmatch(r"[0-9]{1,9}(\.0+)?", text) else None


def _age(text: str) -> int | None:
    if text.lower() in _BLANK:
        return UNKNOWN_AGE
    age = re.fullmatch(r"([0-9]{1,3})(?:\.[0-9]+)? ?([YMWD]?)", text.upper())
    return int(age[1]) // _YEARS[age[2]] if age else None


def _sex(text: str) -> str:
    known = {"f": "F", "female": "F", "m": "M", "male": "M", **dict.fromkeys(_BLANK, UNKNOWN)}
    return known.get(text.lower(), "other")


def _view(text: str) -> str:
    words = re.findall("[A-Z]+", text.upper())
    for view, spellings in {
        "PA": ("PA",),
        "AP": ("AP",),
        "lateral": ("LL", "RL", "L", "LAT", "LATERAL"),
    }.items():
        if any(word in spellings for word in words):
            return view
    return UNKNOWN if text.lower() in _BLANK else "other"


PARSERS: Mapping[str, tuple[Callable[[str], int | str | None], str]] = {
    "age": (_age, "a number of years such as 60 or 060Y"),
    "sex": (_sex, ""),
    "view": (_view, ""),
    "follow_up": (_whole, "a whole number"),
}
"""How columns about people are read, giving None for what is wrong, and what is expected."""


def read_boxes(path: Path, problems: Problems) -> pd.DataFrame:
    """Reads `BBox_List_2017.csv`, whose header names four columns as one.

    Returns:
        One row per box in file order, with columns image_name, finding (as in `FINDINGS`), x, y, w
        and h (float pixels of the PNG, origin top left).

    Raises:
        UserError: The file cannot be read as such a table at all.
    """
    table = read_fields(path, "annotated boxes").reset_index(drop=True)
    rows = pick(table, _BOXES)
    if len(rows.columns) < len(_BOXES):
        raise UserError(
            f"{path}: begins with {','.join(table.columns)[:120]!r}; expected the header "
            "'Image Index,Finding Label,Bbox [x,y,w,h],,,'"
        )
    findings = rows["finding"].map({name: _known(name) for name in rows["finding"].unique()})
    wrong = findings.isna()
    _add_wrong_values(path, rows, "finding", wrong, "one of the 14 findings", problems)
    rows["finding"] = findings.mask(wrong, "").astype("str")
    for side in "xywh":
        numbers = pd.to_numeric(rows[side], errors="coerce").astype(np.float64)
        wrong = ~np.isfinite(numbers)
        _add_wrong_values(path, rows, side, wrong, "a number", problems)
        rows[side] = numbers.mask(wrong, 1.0)
    flat = (rows["w"] <= 0) | (rows["h"] <= 0)
    problems.add(f"{path.name} has boxes of zero area", describe_boxes(rows[flat]))
    return rows


def read_names(path: Path, problems: Problems) -> list[str]:
    """Reads `train_val_list.txt` or `test_list.txt`: one image name per line.

    Raises:
        UserError: The file cannot be read as text.
    """
    names = [name for line in _read_text(path).split("\n") if (name := line.strip())]
    _require_file_names(path, pd.Series(names, dtype="str"), problems)
    return [name for name in names if re.fullmatch(_FILE_NAME, name)]


def describe_boxes(boxes: pd.DataFrame) -> list[str]:
    """Returns one readable phrase per box."""
    return [
        f"{row.image_name} {row.finding} at ({row.x:g}, {row.y:g}, {row.w:g}, {row.h:g})"
        for row in boxes.itertuples()
    ]


def read_table(path: Path) -> pd.DataFrame:
    """Reads a CSV file in any of its dialects, or a parquet file, as stripped text.

    Raises:
        UserError: The file cannot be read as a table.
    """
    if path.suffix.lower() == ".parquet":
        return read_parquet_table(path)
    text = _read_text(path)
    return parse_fields(path, text.rstrip() + "\n", _REMEDY).reset_index(drop=True)


def _read_text(path: Path) -> str:
    if "\0" in (text := read_text(path, _REMEDY)):
        raise UserError(f"{path}: damaged, it has NUL bytes; {_REMEDY}")
    return text


def pick(table: pd.DataFrame, fields: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Returns those columns of a table that it has, under this package's names.

    Args:
        table: What `read_table` gives.
        fields: Columns, and the names of each in files, as `evaluation.fields.key` has them.
    """
    found = {field: column_of(table, keys) for field, keys in fields.items()}
    return pd.DataFrame({field: table[name] for field, name in found.items() if name is not None})


def _read_labels(
    path: Path, rows: pd.DataFrame, table: pd.DataFrame, problems: Problems
) -> pd.DataFrame:
    """Returns a 0/1 column per finding."""
    if "labels" not in rows:
        return _read_label_columns(path, rows, table, problems)
    codes, texts = pd.factorize(rows["labels"])
    vectors = [_label_vector(text) for text in texts]
    unknown = np.array([vector is None for vector in vectors], bool)[codes]
    expected = "findings joined by |, or No Finding"
    _add_wrong_values(path, rows, "labels", unknown, expected, problems)
    none = np.zeros(len(FINDINGS), np.uint8)
    vectors = np.array([none if vector is None else vector for vector in vectors], np.uint8)
    return pd.DataFrame(vectors.reshape(-1, len(FINDINGS))[codes], columns=list(FINDINGS))


def _read_label_columns(
    path: Path, rows: pd.DataFrame, table: pd.DataFrame, problems: Problems
) -> pd.DataFrame:
    """Returns the labels of a table with a column per finding; what is blank or -1 is unknown."""
    columns = {finding: name for name in table.columns if (finding := _known(name))}
    labels = pd.DataFrame(index=rows.index)
    for finding in FINDINGS:
        cells = table[columns[finding]] if finding in columns else pd.Series("", rows.index)
        numbers = cells.str.lower().map(_LABELS)
        named = rows.assign(**{finding: cells})
        _add_wrong_values(path, named, finding, numbers.isna(), "0, 1 or -1 (unknown)", problems)
        labels[finding] = numbers.where(numbers >= 0)
    return labels.astype(np.float32 if labels.isna().any(axis=None) else np.uint8)


def _label_vector(text: str) -> np.ndarray | None:
    names = text.split("|")
    if NO_FINDING in names and len(names) > 1:
        return None
    with suppress(KeyError):
        return label_vector(names)


def _known(finding: str) -> str | None:
    with suppress(KeyError):
        return canonical_finding(finding)


def _require_file_names(path: Path, names: pd.Series, problems: Problems) -> None:
    bad = ~names.str.fullmatch(_FILE_NAME)
    problems.add(f"{path.name} has names that no image file can have", [*map(repr, names[bad])])
    twice = list(names[names.duplicated()].unique())
    problems.add(f"{path.name} lists images more than once", twice)


def _add_wrong_values(
    path: Path,
    rows: pd.DataFrame,
    column: str,
    wrong: pd.Series | np.ndarray,
    expected: str,
    problems: Problems,
) -> None:
    where = [f"{row.image_name} {getattr(row, column)!r}" for row in rows[wrong].itertuples()]
    problems.add(f"{path.name} has values of {column} other than {expected}", where)
