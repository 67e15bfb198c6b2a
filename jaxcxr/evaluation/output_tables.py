"""The tables that this package's programs wrote, read back.

People open such files, edit and copy them: what no program wrote is refused, not passed over.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from jaxcxr.errors import UserError


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What a column of numbers holds.

    Attributes:
        what: In words, for who has to mend the file.
        low: The least of them.
        high: The greatest of them.
        empty: Whether a field may be empty: NaN.
        infinite: Whether it may be inf.
    """

    what: str
    low: float
    high: float
    empty: bool = False
    infinite: bool = False

    def include(self, fields: pd.Series, values: pd.Series) -> pd.Series:
        """Says which fields hold what they may; their values are NaN where they are no numbers."""
        inside = values.between(self.low, self.high)
        if self.infinite:
            inside |= values == math.inf
        if self.empty:
            inside |= fields == ""
        return inside


Columns = Mapping[str, Numbers | None]
"""What the columns of a table hold; None stands for text."""

PROBABILITY = Numbers("a number from 0 to 1", 0, 1)
SCORE = Numbers("a number from 0 to 1 or nothing", 0, 1, empty=True)
COUNT = Numbers("a number from 0", 0, 1e12)
ANY = Numbers("a number or nothing", -math.inf, math.inf, empty=True)


def read_table(
    path: Path, columns: Columns, way_out: str, optional: Collection[str] = ()
) -> pd.DataFrame:
    """Reads a table; columns that are not told of stay text.

    Args:
        path: The CSV file.
        columns: What it holds.
        way_out: What to do where the file is damaged.
        optional: Those of the columns that it may lack.

    Raises:
        UserError: The file is missing, cut off or no CSV, lacks a column or has a wrong field.
    """
    table = _read_text(path, way_out)
    if missing := [name for name in columns if name not in table and name not in optional]:
        raise UserError(f"{path} has no column {', '.join(missing)}; {way_out}")
    for name, numbers in columns.items():
        if numbers is not None and name in table:
            table[name] = _read_numbers(path, pd.Series(table[name]), numbers, way_out)
    return table


def require_rows(
    path: Path,
    table: pd.DataFrame,
    key: Sequence[str],
    expected: Iterable[tuple[object, ...]],
    way_out: str,
) -> None:
    """Refuses a table that has not each expected row once.

    Args:
        path: Of the table.
        table: As it was read.
        key: The columns that tell its rows apart.
        expected: Their values.
        way_out: What to do where the file is damaged.

    Raises:
        UserError: A row is missing, is there twice or is of something else.
    """
    wanted = Counter(expected)
    there = Counter(table.loc[:, list(key)].itertuples(index=False, name=None))
    for problem, rows in {"no": wanted - there, "one more": there - wanted}.items():
        for row in rows:
            told = ", ".join(f"{name} {value}" for name, value in zip(key, row, strict=True))
            raise UserError(f"{path} has {problem} row of {told}; {way_out}")


def _read_text(path: Path, way_out: str) -> pd.DataFrame:
    """Returns the fields of a CSV file as they are written."""
    try:
        text = path.read_text(encoding="utf-8")
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); {way_out}") from error
    if not text.endswith("\n"):
        raise UserError(f"{path} ends within a line: it was cut off; {way_out}")
    if len(set(header)) < len(header):
        raise UserError(f"{path} has two columns of one name; {way_out}")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(row)} values for {len(header)} columns; {way_out}"
            )
    return pd.DataFrame(rows, columns=header, dtype=str)


def _read_numbers(path: Path, fields: pd.Series, numbers: Numbers, way_out: str) -> pd.Series:
    known = pd.Series(pd.to_numeric(fields, errors="coerce")).notna()
    values = fields.where(known, "nan").astype(float)  # pandas 2 reads not to the last digit
    right = numbers.include(fields, values).to_numpy(bool)
    if not right.all():
        row = int(right.argmin())
        raise UserError(
            f"{path}, line {row + 2}: {fields.name} is {fields.iloc[row]!r}; "
            f"expected {numbers.what}; {way_out}"
        )
    return values
