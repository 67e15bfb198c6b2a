"""The CSV files of predictions, labels, boxes and scores: their columns, one reader, one writer.

People edit and copy such files, and other systems write them. A reader refuses what it cannot
score and names the line; it drops no row.
"""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation.fields import column_of, key, listed, match_images, read_fields
from jaxcxr.files import atomic_write, reason_of
from jaxcxr.findings import FINDINGS, NO_FINDING, match_finding

IMAGE = "Image Index"
PATIENT = "Patient ID"
AGE = "Patient Age"
SEX = "Patient Gender"
VIEW = "View Position"
LABELS = "Finding Labels"
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
    "score": _Numbers("a score from 0 to 1", 0, 1),
    "width": _LENGTH,
    "height": _LENGTH,
}
_BOX_OPTIONAL = ("score", "width", "height")
_BOX_NAMES = {IMAGE: "image_name", "Finding Label": "finding"}

_IMAGE_KEYS = (
    "imageindex", "imagename", "imageid", "image", "filename", "file", "imagepath", "path",
    "unnamed0",
)  # fmt: skip
"""What systems call the column of images, as `fields.key` has it; pandas' index at the end."""

_FINDING_KEYS = (
    "findinglabel", "findinglabels", "finding", "label", "labelname", "classname", "class",
    "category", "categoryname", "categoryid", "pathology", "disease",
)  # fmt: skip
_SCORE_KEYS = ("score", "confidence", "probability", "prob", "conf")
_SIDES = (
    ("x", "y", "w", "h"), ("bboxx", "y", "w", "h"), ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"), ("left", "top", "right", "bottom"),
    ("x", "y", "width", "height"), ("left", "top", "width", "height"),
)  # fmt: skip
"""Names of the sides of boxes; NIH's header `Bbox [x,y,w,h]` is four columns of a CSV file."""

_FAR_CORNERS = ("xmax", "x2", "x1", "right")
"""Third of the `_SIDES` where they are two corners."""

_PREFIX = "prob_"
_YES_NO = {"YES": "1", "NO": "0"}
"""As in the expert labels of Majkowska et al. 2020 for radiographs of ChestX-ray14."""

_UNKNOWN_LABELS = ("", "-1", "-1.0", "nan", "NaN")
"""Not mentioned and uncertain, as in CheXpert."""

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


def read_predictions(
    path: str | Path,
    known_images: Collection[str],
    *,
    leave_out_unknown: bool = False,
    findings: Sequence[str] = FINDINGS,
) -> tuple[pd.DataFrame, list[str]]:
    """Reads the probabilities of any system: `Image Index` and one column per finding.

    A column may be called `prob_` and the finding, or spell the finding as NIH's box list does.
    Findings may be missing. Images may be paths, and have another suffix or none.

    Args:
        path: The CSV file; its values are separated by commas, semicolons or tabs.
        known_images: Names of the radiographs that have labels.
        leave_out_unknown: Whether rows of other radiographs are left out, not refused.
        findings: The findings whose probabilities are read.

    Returns:
        `Image Index` and the findings of the file in the order of `findings`, float64; the rows as
        in the file. And notes: lines about columns and rows that were left out.

    Raises:
        UserError: The file cannot be read or has no rows, it has a repeated column, or (with the
            number of the line) an unknown or repeated image or a value that is not a number from 0
            to 1.
    """
    table = read_fields(path, "predictions")
    if table.empty:
        raise UserError(f"{path} has no rows below its header; there is nothing to score")
    image = _image_column(table)
    names = table.columns.difference([image], sort=False)
    columns, others = _finding_columns(path, names, findings)
    if image is None or not columns:
        raise UserError(f"{path}, line 1: expected columns {IMAGE!r} and {', '.join(findings)}")
    found = [finding for finding in findings if finding in columns]
    notes = _left_out(path, others, f"not one of the {len(findings)} findings")
    fields = table[image]
    if leave_out_unknown and (unknown := match_images(fields, known_images) == "").any():
        names = listed(fields[unknown].tolist())
        notes.append(f"{path}: {unknown.sum()} radiographs without labels are left out: {names}")
        table, fields = table[~unknown], fields[~unknown]
    images = _known_images(path, fields, known_images)
    _refuse(path, fields[images.duplicated()], "image {} is also in an earlier line; keep one")
    table = table[[columns[finding] for finding in found]].set_axis(found, axis=1)
    table.insert(0, IMAGE, images)
    _parse(path, table, dict.fromkeys(found, _PROBABILITY))
    return table.reset_index(drop=True), notes


def read_labels(
    path: str | Path, findings: Sequence[str], known_images: Collection[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Reads labels of one's own: `Image Index`, 0 or 1 for some findings, `Patient ID` if known.

    An empty field and -1 are unknown labels. YES and NO stand for 1 and 0, and one column `Finding
    Labels` (findings joined by |) for all.

    Args:
        path: The CSV file.
        findings: The findings whose labels are read.
        known_images: Names of the radiographs that may occur; None takes names as they are.

    Returns:
        `Image Index`, `Patient ID` (the image's name where the file has none: every radiograph then
        counts as a patient) and the findings that the file has, int64 (float64 where some are NaN,
        unknown), under the names of `findings`; and the file's other columns.

    Raises:
        UserError: The file cannot be read, has no image or finding, or (with the number of the
            line) a repeated image or another label.
    """
    table = read_fields(path, "labels")
    if LABELS in table:
        table = _one_column_each(path, table, findings)
    columns: dict[str, str] = {}
    for name in table:
        if finding := _match_or_empty(name, findings):
            if finding in columns.values():
                raise UserError(f"{path}: column {name!r} is the second one for {finding}")
            columns[name] = finding
    image = _image_column(table)
    if image is None or not columns:
        raise UserError(f"{path}: expected columns {IMAGE!r} and findings: {', '.join(findings)}")
    images, others = table[image], table.columns.difference([image, PATIENT, *columns])
    if known_images is not None:
        images = _known_images(path, images, known_images)
    _refuse(path, images[images.duplicated()], "image {} is also in an earlier line; keep one")
    table = table.replace(_YES_NO)
    for name in columns:
        wrong = table[name][~table[name].isin(["0", "1", "0.0", "1.0", *_UNKNOWN_LABELS])]
        _refuse(path, wrong, f"{name} is {{}}; expected 0, 1, or an empty field or -1 for unknown")
    labels = table[[*columns]].replace(dict.fromkeys(_UNKNOWN_LABELS, "nan")).astype(np.float64)
    labels = labels if labels.isna().any(axis=None) else labels.astype(np.int64)
    labels = labels.rename(columns=columns)
    labels.insert(0, IMAGE, images)
    labels.insert(1, PATIENT, table.get(PATIENT, images))
    return labels.reset_index(drop=True), [*others]


def _one_column_each(
    path: str | Path, table: pd.DataFrame, findings: Sequence[str]
) -> pd.DataFrame:
    """Replaces NIH's `Finding Labels` by a column for each finding."""
    names = table[LABELS].str.split("|").explode()
    names = names[names != NO_FINDING]
    known = names.map({name: _match_or_empty(name, findings) for name in names.unique()})
    _refuse(path, names[known == ""], "label {} is not a finding; expected those joined by |")
    present = pd.crosstab(known.index, known).reindex(index=table.index, columns=[*findings])
    return table.drop(columns=LABELS).join(present.gt(0).astype(int).astype(str))


def read_boxes(
    path: str | Path,
    known_images: Collection[str] | None,
    *,
    coco_dataset: str | Path | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Reads the boxes of any system, by the header of a CSV file, or from COCO's JSON.

    Sides are x, y, w, h (also NIH's `Bbox [x,y,w,h]`), or corners: x_min, y_min, x_max, y_max, and
    other usual names of these. The columns of images and findings have their usual names, too. The
    score may be missing. `width` and `height`, the size in pixels of the image that a box was drawn
    in, may follow. A file without rows means that nothing was found.

    Args:
        path: The CSV or JSON file.
        known_images: Names of the release's radiographs; None takes names as they are.
        coco_dataset: The COCO file whose images and categories the ids of detections are of.

    Returns:
        image_name, finding, x, y, w, h (float64, pixels), score (NaN where the file has none) and,
        where the file has them, width and height; the rows as in the file. And notes: lines about
        columns, and boxes of other findings, that were left out.

    Raises:
        UserError: The file cannot be read, it has a repeated or missing column, or (with the number
            of the line) an unknown image, a position that is not a number, a box without area, a
            score outside 0..1, or a row twice.
    """
    fields = read_fields(path, "boxes", coco_dataset)
    image, finding = _image_column(fields), column_of(fields, _FINDING_KEYS)
    sides = next((found for keys in _SIDES if all(found := _columns(fields, keys))), [])
    size = [name for name in ("width", "height") if name in fields and name not in sides]
    if not (image and finding and sides) or len(size) == 1:
        raise UserError(
            f"{path}, line 1: the header is {','.join(fields)!r:.200}; expected "
            f"{','.join((*BOX, *_BOX_OPTIONAL))!r} (score, and width with height, may be missing; "
            "x_min,y_min,x_max,y_max may stand for x,y,w,h)"
        )
    findings = fields[finding].map(_finding_or_empty)
    boxes = fields[findings != ""]
    images = boxes[image]
    if known_images is not None:
        images = _known_images(path, images, known_images)
    table = images.rename("image_name").to_frame()
    table["finding"] = findings
    table = table.join(_sides(path, boxes[sides]))
    score = column_of(fields, _SCORE_KEYS)
    table["score"] = boxes[score] if score else np.nan
    table[size] = boxes[size]
    _parse(path, table, _BOX_NUMBERS if score else dict.fromkeys(size, _LENGTH))
    repeated = table[[*_BOX_NAMES.values(), *"xywh"]].duplicated()
    problem = "the same box of image {} is in an earlier line; keep one"
    _refuse(path, boxes[image][repeated], problem)
    unused = fields.columns.difference([image, finding, *sides, score, *size], sort=False)
    notes = _left_out(path, unused, "not used")
    if others := sorted({*fields[finding][findings == ""]}):
        count = len(fields) - len(boxes)
        notes.append(f"{path}: {count} boxes of other findings are left out: {listed(others)}")
    return table.reset_index(drop=True), notes


def _sides(path: str | Path, table: pd.DataFrame) -> pd.DataFrame:
    """Returns x, y, w, h of boxes whose columns are these, in whatever words, or two corners."""
    near, far = [*table][:2], [*table][2:]
    corners = key(far[0]) in _FAR_CORNERS
    texts, table = table, table.copy()
    _parse(path, table, dict.fromkeys(near, _POSITION))
    _parse(path, table, dict.fromkeys(far, _POSITION if corners else _LENGTH))
    for start, stop in zip(near, far, strict=True) if corners else ():
        wrong = texts[stop][table[stop] <= table[start]]
        _refuse(path, wrong, f"{stop} is {{}}; expected more than {start} of the same box")
        table[stop] -= table[start]
    return table.set_axis([*"xywh"], axis=1)


def _columns(table: pd.DataFrame, keys: Iterable[str]) -> list[str | None]:
    return [column_of(table, [wanted]) for wanted in keys]


def _left_out(path: str | Path, columns: Collection[str], why: str) -> list[str]:
    """Returns a line that names columns of a file, if any."""
    return [f"{path}: columns that are {why}: {listed(columns)}"] if len(columns) else []


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
        known, 14 findings. An age below 0, and the sex and view "unknown", become empty.
    """
    chosen = images.set_index("image_name", drop=False)
    if names is not None:
        chosen = chosen.loc[list(names)]
    ages = chosen["age"].astype("Int64")
    chosen = chosen.assign(
        age=ages.mask(ages < 0),
        **{name: chosen[name].replace("unknown", "") for name in ("sex", "view")},
    )
    source = {SOURCE: "source"} if "source" in images else {}
    columns = {**PEOPLE, **source, **{finding: finding for finding in FINDINGS}}
    return pd.DataFrame({name: chosen[column].array for name, column in columns.items()})


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
        where = fields.index.name
        more = {"line": "lines", "entry": "entries"}[where]
        text = f"{path}, {where} {fields.index[0]}: {text.format(f'{fields.iloc[0]!r:.100}')}"
        text += f" (and {len(fields) - 1} more such {more})" if len(fields) > 1 else ""
        raise UserError(text)


def _finding_columns(
    path: str | Path, header: Iterable[str], findings: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Returns the column of each finding in a file of predictions, and the other columns."""
    columns: dict[str, str] = {}
    others = []
    for name in header:
        finding = _match_or_empty(name.removeprefix(_PREFIX), findings)
        if finding in columns:
            raise UserError(f"{path}, line 1: column {name!r} is the second one for {finding}")
        if finding:
            columns[finding] = name
        else:
            others.append(name)
    return columns, others


def _image_column(table: pd.DataFrame) -> str | None:
    return IMAGE if IMAGE in table else column_of(table, _IMAGE_KEYS)


def _known_images(path: str | Path, fields: pd.Series, known: Collection[str]) -> pd.Series:
    """Returns the radiographs that names in a file mean; refuses unknown ones."""
    images = match_images(fields, known)
    _refuse(path, fields[images == ""], _UNKNOWN_IMAGE)
    return images


def _finding_or_empty(name: str) -> str:
    return _match_or_empty(name, FINDINGS)


def _match_or_empty(name: str, findings: Sequence[str]) -> str:
    try:
        return match_finding(name, findings)
    except KeyError:
        return ""
