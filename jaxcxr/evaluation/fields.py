"""Fields of files that other systems write: CSV in its dialects, COCO's JSON, image names as paths.

Everything is text here; `jaxcxr.evaluation.tables` makes numbers of it. The index of a table says
where a row stands in the file: the number of its line, or of its entry in JSON.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.files import reason_of

_DECIMAL_COMMA = re.compile(r"([+-]?[0-9]*),([0-9]+)")
_SUFFIX = re.compile(r"(\.(png|jpe?g|dcm|dicom|tiff?|bmp|gz|npy|npz))+$", re.IGNORECASE)
_MOST_NAMED = 8


def key(name: str) -> str:
    """Returns the letters and digits of a column's name, by which its spellings are equal."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def column_of(table: pd.DataFrame, keys: Sequence[str]) -> str | None:
    """Returns the column of a table whose `key` is the first possible one of `keys`."""
    found = {key(name): name for name in reversed([*table])}
    return next((found[wanted] for wanted in keys if wanted in found), None)


def listed(names: Collection[str]) -> str:
    """Returns names for a message, a few of many."""
    shown = [repr(name[:60]) for name in list(names)[:_MOST_NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def stem(name: str) -> str:
    """Returns the name of a radiograph without the suffix of its file."""
    return _SUFFIX.sub("", name)


def match_images(fields: pd.Series, known: Iterable[str]) -> pd.Series:
    """Finds the radiographs that image names of another system mean.

    A name may be a path, with slashes of either kind, and have another suffix or none. The longest
    end of the path that is a known name counts.

    Args:
        fields: (N,) names as in the file.
        known: Names of the radiographs.

    Returns:
        (N,) known names, "" where none is meant, or one of several.
    """
    names = dict.fromkeys(known)
    if fields.isin(names).all():
        return fields
    by_stem: dict[str, str] = {}
    for name in names:
        by_stem[stem(name)] = "" if stem(name) in by_stem else name

    def match(text: str) -> str:
        parts = text.replace("\\", "/").split("/")
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            if found := end if end in names else by_stem.get(stem(end)):
                return found
        return ""

    return fields.map({text: match(text) for text in fields.unique()})


def read_fields(path: str | Path, what: str, dataset: str | Path | None = None) -> pd.DataFrame:
    """Reads a CSV file (comma, semicolon or tab), or boxes in COCO's JSON.

    A column without a name becomes "Unnamed: 0", with its place, as in pandas.

    Args:
        path: The file.
        what: What it should hold, for messages.
        dataset: The COCO file whose images and categories the ids in `path` are of.

    Returns:
        Fields as stripped text.

    Raises:
        UserError: The file cannot be read as a table.
    """
    remedy = f"expected a CSV file of {what}"
    text = read_text(path, remedy)
    if text.lstrip()[:1] in ("{", "["):
        return _coco_fields(path, json_content(path), json_content(dataset) if dataset else {})
    return parse_fields(path, text, remedy)


def parse_fields(path: str | Path, text: str, remedy: str) -> pd.DataFrame:
    """Returns the fields in the text of a CSV file, as `read_fields` does.

    Args:
        path: The file, for messages.
        text: What it holds.
        remedy: What to do, the end of messages.
    """
    text = re.sub("^sep=.*", "", text)  # a spreadsheet's remark
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        lines = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(f"{path} is not a valid CSV file ({error}); {remedy}") from error
    if not lines:
        raise UserError(f"{path} has no lines; {remedy}")
    header, rows = [name.strip() for name in lines[0][1]], lines[1:]
    while not header[-1]:
        del header[-1]
    if rows and not text.endswith(("\n", "\r")):
        raise UserError(
            f"{path}, line {lines[-1][0]}: the file ends within this line and may be cut off; "
            f"expected a line end; {remedy}"
        )
    header = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    if repeated := [name for name, count in Counter(header).items() if count > 1]:
        raise UserError(f"{path} has two columns {repeated[0]!r:.60}; {remedy}")
    for number, row in rows:
        if len(row) < len(header) or any(map(str.strip, row[len(header) :])):
            raise UserError(
                f"{path}, line {number}: {len(row)} values where the header has {len(header)} "
                f"columns; {remedy}"
            )
    fields = [[field.strip() for field in row[: len(header)]] for _, row in rows]
    index = pd.Index([number for number, _ in rows], name="line")
    table = pd.DataFrame(fields, index, header, dtype=str)
    if _delimiter(text) != ",":
        table = table.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)
    return table


def read_text(path: str | Path, remedy: str) -> str:
    """Returns the text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        UserError: It cannot be read, or is not text; the message ends with `remedy`.
    """
    try:
        content = Path(path).read_bytes()
        is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}); {remedy}") from error


def _delimiter(text: str) -> str:
    """Returns the delimiter that is most frequent in the first line that has text."""
    header = re.search(r"^.*\S.*$", text, re.MULTILINE)
    return max(",;\t", key=header[0].count) if header else ","


def json_content(path: str | Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        UserError: The file cannot be read as JSON.
    """
    text = read_text(path, "expected a JSON file")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({reason_of(error):.100})") from error


def _coco_fields(path: str | Path, content: Any, dataset: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the boxes of a list of detections, or of a dataset, as fields of a CSV file.

    The forms: https://cocodataset.org/#format-results and #format-data.
    """
    try:
        entries = content
        if isinstance(content, dict):
            dataset, entries = content, content["annotations"]
        images = {image["id"]: image for image in dataset.get("images", [])}
        categories = {kind["id"]: kind["name"] for kind in dataset.get("categories", [])}
        rows = []
        for entry in entries:
            image, kind = entry["image_id"], entry["category_id"]
            if not isinstance(image, str) and image not in images:
                raise UserError(
                    f"{path}: image_id {image!r:.50} is not a name; use the names of images and "
                    "findings, or give the COCO file that has the images and categories",
                    argument="coco_dataset",
                )
            of_image = images.get(image, {})
            name, finding = of_image.get("file_name", image), categories.get(kind, kind)
            row = {"image_id": name, "category_id": finding}
            row |= dict(zip("xywh", entry["bbox"], strict=True))
            row |= {name: entry[name] for name in ("score",) if name in entry}
            row |= {name: of_image[name] for name in ("width", "height") if name in of_image}
            rows.append({name: str(value) for name, value in row.items()})
    except UserError:
        raise
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is not a COCO file of boxes ({reason_of(error):.100}); expected a list of "
            "detections (image_id, category_id, bbox, score) or images, annotations and categories"
        ) from error
    index = pd.RangeIndex(1, len(rows) + 1, name="entry")
    columns = None if rows else ["image_id", "category_id", *"xywh"]
    return pd.DataFrame(rows, index, columns, dtype=str).fillna("")
