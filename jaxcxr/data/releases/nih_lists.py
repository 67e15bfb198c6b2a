"""The four lists of a release as tables: metadata, boxes, and the two official split lists."""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.data.releases.problems import Problems
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS, NO_FINDING, canonical_finding, label_vector

_METADATA_COLUMNS = {
    "Image Index": "image_name",
    "Finding Labels": "labels",
    "Follow-up #": "follow_up",
    "Patient ID": "patient",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "View Position": "view",
}
_NUMBERS = ("patient", "age", "follow_up")
_CHOICES = {"sex": ("F", "M"), "view": ("PA", "AP")}
_BOX_COLUMNS = ["image_name", "finding", "x", "y", "w", "h"]
_FILE_NAME = r"[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]{0,199}"


def read_metadata(path: Path, problems: Problems) -> pd.DataFrame:
    """Reads `Data_Entry_2017_v2020.csv` or the older `Data_Entry_2017.csv`.

    Only the first seven columns are read, so that neither the commas inside the header's last two
    names nor the older version's trailing comma matter.

    Returns:
        One row per radiograph in file order, with columns image_name, patient (text, without zeros
        before a number), age, sex, view, follow_up and one 0/1 column per finding. Ages are the
        file's numbers: the older version has some of up to 414 years.

    Raises:
        UserError: The file cannot be read as such a table at all.
    """
    header, columns = ",".join(_METADATA_COLUMNS), list(_METADATA_COLUMNS.values())
    rows = _read_table(path, _read_text(path), header, columns)
    names = rows["image_name"]
    bad = ~names.str.fullmatch(_FILE_NAME)
    problems.add(f"{path.name} has names that no image file can have", [*map(repr, names[bad])])
    _require_unique(path, names, problems)
    labels = _read_labels(path, rows, problems)
    for column in _NUMBERS:
        wrong = ~rows[column].str.fullmatch(r"[0-9]{1,9}")
        _add_wrong_values(path, rows, column, wrong, "a whole number", problems)
        if column != "patient":
            rows[column] = rows[column].mask(wrong, "0").astype(np.int64)
    rows["patient"] = rows["patient"].str.lstrip("0").replace("", "0")
    for column, choices in _CHOICES.items():
        wrong = ~rows[column].isin(choices)
        _add_wrong_values(path, rows, column, wrong, " or ".join(choices), problems)
    order = ["image_name", "patient", "age", "sex", "view", "follow_up"]
    return pd.concat([rows[order], labels], axis="columns")


_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
"""Header of the official list; a file of this line alone is a list without boxes."""


def read_boxes(path: Path, problems: Problems) -> pd.DataFrame:
    """Reads `BBox_List_2017.csv`, whose header names four columns as one.

    Returns:
        One row per box in file order, with columns image_name, finding (as in `FINDINGS`), x, y, w
        and h (float pixels of the PNG, origin top left).

    Raises:
        UserError: The file cannot be read as such a table at all.
    """
    text = _read_text(path)
    if text != _BOX_HEADER and not text.endswith(("\n", "\r")):
        raise UserError(
            f"{path}: ends within its last line, whose numbers may be cut off; download it again, "
            "or end that line if it is complete"
        )
    rows = _read_table(path, text, "Image Index,Finding Label,Bbox", _BOX_COLUMNS)
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
    _require_unique(path, pd.Series(names, dtype="str"), problems)
    return names


def describe_boxes(boxes: pd.DataFrame) -> list[str]:
    """Returns one readable phrase per box."""
    return [
        f"{row.image_name} {row.finding} at ({row.x:g}, {row.y:g}, {row.w:g}, {row.h:g})"
        for row in boxes.itertuples()
    ]


def _read_text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}); download it again") from error
    if "\0" in text:
        raise UserError(f"{path}: damaged, it has NUL bytes; download it again")
    return text


def _read_table(path: Path, text: str, header: str, columns: list[str]) -> pd.DataFrame:
    """Returns the first columns of a CSV file as stripped strings, "" where there is none."""
    first = text.partition("\n")[0].strip().replace('"', "")
    if not first.startswith(header):
        raise UserError(f"{path}: begins with {first[:120]!r}; expected the header {header!r}…")
    try:
        rows = pd.read_csv(
            io.StringIO(text),
            header=None,
            skiprows=1,
            names=columns,
            usecols=range(len(columns)),
            index_col=False,
            dtype="str",
            keep_default_na=False,
        )
    except pd.errors.EmptyDataError:
        rows = pd.DataFrame({column: pd.Series(dtype="str") for column in columns})
    except ValueError as error:  # also pandas' ParserError
        raise UserError(f"{path}: not a table ({str(error).strip()}); download it again") from error
    return rows.fillna("").apply(lambda column: column.str.strip())


def _read_labels(path: Path, rows: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    codes, texts = pd.factorize(rows["labels"])
    vectors = [_label_vector(text) for text in texts]
    unknown = np.array([vector is None for vector in vectors], bool)[codes]
    expected = "findings joined by |, or No Finding"
    _add_wrong_values(path, rows, "labels", unknown, expected, problems)
    none = np.zeros(len(FINDINGS), np.uint8)
    table = np.array([none if vector is None else vector for vector in vectors], np.uint8)
    return pd.DataFrame(table.reshape(-1, len(FINDINGS))[codes], columns=list(FINDINGS))


def _label_vector(text: str) -> np.ndarray | None:
    names = text.split("|")
    if NO_FINDING in names and len(names) > 1:
        return None
    with suppress(KeyError):
        return label_vector(names)


def _known(finding: str) -> str | None:
    with suppress(KeyError):
        return canonical_finding(finding)


def _require_unique(path: Path, names: pd.Series, problems: Problems) -> None:
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
