"""The CSV files of predictions, labels, boxes and scores: their columns, one reader, one writer.

People edit and copy such files, and other systems write them. A reader refuses what it cannot
score and names the line; it drops no row.
"""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write, reason_of
from jaxcxr.findings import FINDINGS, canonical_finding, match_finding

IMAGE = "Image Index"
PATIENT = "Patient ID"
AGE = "Patient Age"
SEX = "Patient Gender"
VIEW = "View Position"
PEOPLE = {IMAGE: "image_name", PATIENT: "patient", AGE: "age", SEX: "sex", VIEW: "view"}
"""The first columns of labels.csv, and what tables of a release call them."""

SOURCE = "Source"
"""The next column, of radiographs of several sources."""


class _Numbers(NamedTuple):
    """The numbers that a column of a user's file may hold, and their description."""

    expected: str
    low: float
    high: float


_FARTHEST = 1e6
"""Pixels; no radiograph is as wide."""

_PROBABILITY = _Numbers("a probability from 0 to 1", 0, 1)
_POSITION = _Numbers("a number of pixels", -_FARTHEST, _FARTHEST)
_LENGTH = _Numbers("a number of pixels above 0", np.nextafter(0, 1), _FARTHEST)

BOX = (IMAGE, "Finding Label", "x", "y", "w", "h")
"""The columns of a file of boxes, in pixels, origin top left."""

_BOX_NUMBERS = {
    **dict.fromkeys("xy", _POSITION),
    **dict.fromkeys("wh", _LENGTH),
    "score": _Numbers("a score from 0 to 1", 0, 1),
    "width": _LENGTH,
    "height": _LENGTH,
}
_BOX_OPTIONAL = ("score", "width", "height")
_BOX_NAMES = {IMAGE: "image_name", "Finding Label": "finding"}

_PREFIX = "prob_"
_UNKNOWN_IMAGE = "image {} is not in the release's metadata"
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""What is read as a number; Python would read 1_0 as ten."""


def read_table(
    path: str | Path, texts: Sequence[str], numbers: Sequence[str] | None, remedy: str
) -> pd.DataFrame:
    """Reads a table that a program of this package wrote.

    Args:
        path: The CSV file.
        texts: Columns of text.
        numbers: Columns of numbers, an empty field is NaN; None takes all but `texts`.
        remedy: What to do about a damaged file; the end of the message.

    Returns:
        These columns, text and float64, exact to the last digit.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        numbers = [name for name in table if name not in texts] if numbers is None else numbers
        table = table.loc[:, [*texts, *numbers]]
        if not text.endswith("\n") or table.isna().any(axis=None):
            raise ValueError("a line is cut off")
        values = {name: _as_floats(table[name].replace("", "nan")) for name in numbers}
        return table.assign(**values)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({reason_of(error):.200}); {remedy}") from error


def require_findings(
    path: str | Path, table: pd.DataFrame, remedy: str, findings: Sequence[str] = FINDINGS
) -> None:
    """Raises a UserError where a table of `path` does not have one row per finding, in order."""
    if [*table["finding"]] != [*findings]:
        raise UserError(f"{path} is damaged (not one row per finding, in order); {remedy}")


def _as_floats(fields: pd.Series) -> pd.Series:
    return fields.astype(object).astype(np.float64)


def read_predictions(path: str | Path, known_images: Collection[str]) -> pd.DataFrame:
    """Reads the probabilities of any system: `Image Index` and one column per finding.

    A column may be called `prob_` and the finding, or spell the finding as NIH's box list does.
    Findings may be missing.

    Args:
        path: The CSV file.
        known_images: Names of the release's radiographs.

    Returns:
        `Image Index` and the findings of the file in the order of `FINDINGS`, float64; the rows as
        in the file.

    Raises:
        UserError: The file cannot be read or has no rows, it has an unknown or repeated column, or
            (with the number of the line) an unknown or repeated image or a value that is not a
            number from 0 to 1.
    """
    table = _read_fields(path, "predictions")
    if table.empty:
        raise UserError(f"{path} has no rows below its header; there is nothing to score")
    columns = _finding_columns(path, [*table])
    found = [finding for finding in FINDINGS if finding in columns]
    table = table[[IMAGE, *(columns[finding] for finding in found)]].set_axis(
        [IMAGE, *found], axis=1
    )
    images = table[IMAGE]
    _refuse(path, images[~images.isin(list(known_images))], _UNKNOWN_IMAGE)
    _refuse(path, images[images.duplicated()], "image {} is also in an earlier line; keep one")
    _parse(path, table, dict.fromkeys(found, _PROBABILITY))
    return table.reset_index(drop=True)


def read_labels(path: str | Path, findings: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Reads labels of one's own: `Image Index`, 0 or 1 for some findings, `Patient ID` if known.

    Args:
        path: The CSV file.
        findings: The findings whose labels are read.

    Returns:
        `Image Index`, `Patient ID` (the image's name where the file has none: every radiograph then
        counts as a patient) and the findings that the file has, int64, under the names of
        `findings`; and the file's other columns.

    Raises:
        UserError: The file cannot be read, has no image or finding, or (with the number of the
            line) a repeated image or a label that is not 0 or 1.
    """
    table = _read_fields(path, "labels")
    columns: dict[str, str] = {}
    for name in table.columns.difference([IMAGE, PATIENT], sort=False):
        with suppress(KeyError):
            if (finding := match_finding(name, findings)) in columns.values():
                raise UserError(f"{path}: column {name!r} is the second one for {finding}")
            columns[name] = finding
    if IMAGE not in table or not columns:
        raise UserError(f"{path}: expected columns {IMAGE!r} and findings: {', '.join(findings)}")
    images, others = table[IMAGE], table.columns.difference([IMAGE, PATIENT, *columns])
    _refuse(path, images[images.duplicated()], "image {} is also in an earlier line; keep one")
    for name in columns:
        wrong = table[name][~table[name].isin(["0", "1", "0.0", "1.0"])]
        _refuse(path, wrong, f"{name} is {{}}; expected 0 or 1")
    labels = table[[*columns]].astype(np.float64).astype(np.int64).rename(columns=columns)
    labels.insert(0, IMAGE, images)
    labels.insert(1, PATIENT, table.get(PATIENT, images))
    return labels.reset_index(drop=True), [*others]


def read_boxes(path: str | Path, known_images: Collection[str]) -> pd.DataFrame:
    """Reads the predicted boxes of any system: `Image Index,Finding Label,x,y,w,h,score`.

    The column `score` may be missing. `width` and `height`, the size in pixels of the image that a
    box was drawn in, may follow. A file without rows means that nothing was found.

    Args:
        path: The CSV file.
        known_images: Names of the release's radiographs.

    Returns:
        image_name, finding, x, y, w, h (float64, pixels), score (NaN where the file has none) and,
        where the file has them, width and height; the rows as in the file.

    Raises:
        UserError: The file cannot be read, it has an unknown, repeated or missing column, or (with
            the number of the line) an unknown image or finding, a position that is not a number, a
            box without area, a score outside 0..1, or a row twice.
    """
    table = _read_fields(path, "boxes")
    optional = [name for name in _BOX_OPTIONAL if name in table]
    if {*table} != {*BOX, *optional} or ("width" in table) != ("height" in table):
        raise UserError(
            f"{path}, line 1: the header is {','.join(table)!r:.200}; expected "
            f"{','.join((*BOX, *_BOX_OPTIONAL))!r} (score, and width with height, may be missing)"
        )
    table = table[[*BOX, *optional]].rename(columns=_BOX_NAMES)
    images, findings = table["image_name"], table["finding"].map(_finding_or_empty)
    _refuse(path, images[~images.isin(list(known_images))], _UNKNOWN_IMAGE)
    _refuse(path, table["finding"][findings == ""], "finding {} is not one of the 14 findings")
    _parse(path, table, _BOX_NUMBERS)
    table["finding"] = findings
    repeated = table[[*_BOX_NAMES.values(), *"xywh"]].duplicated()
    _refuse(path, images[repeated], "the same box of image {} is in an earlier line; keep one")
    if "score" not in table:
        table.insert(6, "score", np.full(len(table), np.nan))
    return table.reset_index(drop=True)


def box_table(boxes: pd.DataFrame) -> pd.DataFrame:
    """Returns boxes (image_name, finding, x, y, w, h …) with the columns of boxes.csv.

    score, width and height are kept where `boxes` has them.
    """
    names = {_BOX_NAMES.get(name, name): name for name in (*BOX, *_BOX_OPTIONAL)}
    return boxes.loc[:, [name for name in names if name in boxes]].rename(columns=names)


def label_table(images: pd.DataFrame, names: Iterable[str] | None = None) -> pd.DataFrame:
    """Returns what is known of radiographs with the columns of labels.csv.

    Args:
        images: One row per radiograph with image_name, patient, age, sex, view and the 14 findings,
            as `Release.images` has them; and source, where there are several.
        names: The radiographs to take, in this order; all by default.

    Returns:
        `Image Index`, `Patient ID`, `Patient Age`, `Patient Gender`, `View Position`, `Source` if
        known, 14 findings.
    """
    chosen = images.set_index("image_name", drop=False)
    if names is not None:
        chosen = chosen.loc[list(names)]
    source = {SOURCE: "source"} if "source" in images else {}
    columns = {**PEOPLE, **source, **{finding: finding for finding in FINDINGS}}
    return pd.DataFrame({name: chosen[column].to_numpy() for name, column in columns.items()})


def on_test_list(table: pd.DataFrame, images: pd.DataFrame) -> np.ndarray:
    """Returns (N,) bool: which rows of a table are about radiographs of the official test list.

    Args:
        table: With `Image Index` or image_name.
        images: Of a `Release`: image_name and official_split.
    """
    names = table[IMAGE if IMAGE in table else "image_name"]
    return names.isin(images.loc[images["official_split"] == "test", "image_name"]).to_numpy()


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Writes a table as CSV atomically; NaN is an empty field.

    Numbers are written so that they are equal when read as float64: those of float32, too, whose
    shorter spelling is another number (0.1 for 0.10000000149).
    """
    with atomic_write(path) as partial:
        append(table, partial)


def append(table: pd.DataFrame, path: str | Path) -> int:
    """Appends a table to a CSV file as `write` writes it, and returns the file's size in bytes."""
    single = table.select_dtypes(np.float32)
    table = table.astype(dict.fromkeys(single, np.float64))
    with Path(path).open("a", encoding="utf-8", newline="") as file:
        table.to_csv(file, index=False, header=file.tell() == 0, lineterminator="\n")
        return file.tell()


def _read_fields(path: str | Path, what: str) -> pd.DataFrame:
    """Returns the fields of a CSV file of `what`, stripped; the index has their line numbers."""
    remedy = f"expected a CSV file of {what}"
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}); {remedy}") from error
    except csv.Error as error:
        raise UserError(f"{path} is not a valid CSV file ({error}); {remedy}") from error
    if not lines:
        raise UserError(f"{path} has no lines; {remedy}")
    header, rows = [name.strip() for name in lines[0][1]], lines[1:]
    if rows and not text.endswith(("\n", "\r")):
        raise UserError(
            f"{path}, line {lines[-1][0]}: the file ends within this line and may be cut off; "
            f"expected a line end; {remedy}"
        )
    if repeated := [name for name, count in Counter(header).items() if count > 1]:
        raise UserError(f"{path} has two columns {repeated[0]!r:.60}; {remedy}")
    for number, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {number}: {len(row)} values where the header has {len(header)} "
                f"columns; {remedy}"
            )
    fields = [[field.strip() for field in row] for _, row in rows]
    return pd.DataFrame(fields, [number for number, _ in rows], header, dtype=str)


def _parse(path: str | Path, table: pd.DataFrame, columns: Mapping[str, _Numbers]) -> None:
    """Makes columns of text numbers, exact to the last digit; refuses invalid fields."""
    for name, numbers in columns.items():
        if name in table:
            fields = table[name]
            values = _as_floats(fields.where(fields.str.fullmatch(_NUMBER), "nan"))
            invalid = fields[~values.between(numbers.low, numbers.high)]
            _refuse(path, invalid, f"{name} is {{}}; expected {numbers.expected}")
            table[name] = values


def _refuse(path: str | Path, fields: pd.Series, text: str) -> None:
    """Raises UserError for invalid fields, if any; the text's braces stand for the first."""
    if len(fields):
        text = f"{path}, line {fields.index[0]}: {text.format(f'{fields.iloc[0]!r:.100}')}"
        text += f" (and {len(fields) - 1} more such lines)" if len(fields) > 1 else ""
        raise UserError(text)


def _finding_columns(path: str | Path, header: list[str]) -> dict[str, str]:
    """Returns the column of each finding in a file of predictions."""
    columns: dict[str, str] = {}
    for name in header:
        finding = _finding_or_empty(name.removeprefix(_PREFIX))
        if finding in columns:
            raise UserError(f"{path}, line 1: column {name!r} is the second one for {finding}")
        if finding:
            columns[finding] = name
        elif name != IMAGE:
            raise UserError(
                f"{path}, line 1: column {name!r:.100} is not one of the 14 findings; remove it"
            )
    if IMAGE not in header or not columns:
        raise UserError(f"{path}, line 1: expected columns {IMAGE!r} and {', '.join(FINDINGS)}")
    return columns


def _finding_or_empty(name: str) -> str:
    try:
        return canonical_finding(name)
    except KeyError:
        return ""
