"""Radiographs and labels in parquet files, as the Hugging Face hub has data sets of images.

Seen with `timm/nih-chest-xray-14` (image_id, image, labels, label_names, patient_id, follow_up,
patient_age, patient_sex, view_position): a column of images, each a struct of bytes and path;
labels as lists of names, or of numbers whose names the file's metadata hold (`ClassLabel` of the
library `datasets`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jaxcxr.errors import UserError
from jaxcxr.findings import NO_FINDING

_NAMES = ("image_id", "image index", "image_index", "image_name", "file_name", "filename")
_ROWS_AT_ONCE = 64


def read_parquet_table(path: Path) -> pd.DataFrame:
    """Reads everything but the images, as text; `image_name` is the first column.

    Lists of labels are joined by "|"; an empty one is `No Finding`.

    Raises:
        UserError: The file is damaged or has no column of images.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            others = [name for name in schema.names if name != _image_column(path, schema)]
            table = file.read(columns=others)
            names = _image_names(path, file)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: not a readable parquet file ({error})") from error
    classes = _class_names(schema)
    columns = {
        name: [_as_text(value, classes.get(name)) for value in table[name].to_pylist()]
        for name in others
    }
    return pd.DataFrame({"image_name": names} | columns, dtype="str")


def read_parquet_images(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the name of each row as `read_parquet_table` gives it, and the bytes of its image."""
    with pq.ParquetFile(path) as file:
        column = _image_column(path, file.schema_arrow)
        names = iter(_image_names(path, file))
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[column]):
            for image in batch[column].to_pylist():
                yield next(names), image["bytes"] if isinstance(image, dict) else image


def has_images(path: Path) -> bool:
    """Returns whether a parquet file has a column of images."""
    try:
        return bool(_image_columns(pq.read_schema(path)))
    except (OSError, pa.ArrowInvalid):
        return False


def _image_columns(schema: pa.Schema) -> list[str]:
    return [
        field.name
        for field in schema
        if pa.types.is_binary(field.type)
        or pa.types.is_large_binary(field.type)
        or (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    ]


def _image_column(path: Path, schema: pa.Schema) -> str:
    found = _image_columns(schema)
    if len(found) != 1:
        raise UserError(f"{path}: expected one column of images, found {found or 'none'}")
    return found[0]


def _image_names(path: Path, file: pq.ParquetFile) -> list[str]:
    """Returns the names by a column, by the paths of the images, or by the number of the row."""
    schema = file.schema_arrow
    image = _image_column(path, schema)
    for name in schema.names:
        if name.lower() in _NAMES and name != image:
            return [str(value) for value in file.read(columns=[name])[name].to_pylist()]
    names = [f"{path.stem}_{row:06d}" for row in range(file.metadata.num_rows)]
    if pa.types.is_struct(schema.field(image).type):
        paths = [row["path"] for row in file.read(columns=[f"{image}.path"])[image].to_pylist()]
        if all(paths) and len(set(paths)) == len(paths):
            return [PurePosixPath(each).name for each in paths]
    return names


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Returns the names of the classes of each column that has them."""
    content = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(content).get("info", {}).get("features", {})
    return {name: found for name, feature in features.items() if (found := _names_in(feature))}


def _names_in(feature: Any) -> list[str] | None:
    if isinstance(feature, list):
        return _names_in(feature[0])
    if isinstance(feature, dict):
        return feature.get("names") or _names_in(feature.get("feature"))
    return None


def _as_text(value: Any, classes: list[str] | None) -> str:
    if isinstance(value, list):
        return "|".join(_as_text(each, classes) for each in value) or NO_FINDING
    if value is None or value != value:  # NaN
        return ""
    return classes[value] if classes and isinstance(value, int) else str(value)
