"""What editors, spreadsheets, transfers and vandals do to CSV files and lists."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Rows = list[list[str]]


def with_mark(rng: Rng, text: str) -> bytes:
    """Puts a byte order mark before the text."""
    return b"\xef\xbb\xbf" + text.encode()


def with_other_line_ends(rng: Rng, text: str) -> bytes:
    """Ends lines as Windows does."""
    return text.replace("\n", "\r\n").encode()


def with_blank_lines(rng: Rng, text: str) -> bytes:
    """Puts blank lines behind some lines and at the end."""
    lines = [line + "\n" * int(1 + (rng.random() < 0.3)) for line in text.splitlines()]
    return ("".join(lines) + "\n\n").encode()


def with_quotes(rng: Rng, text: str) -> bytes:
    """Puts every field in quotes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(csv.reader(io.StringIO(text)))
    return buffer.getvalue().encode()


def with_spaces(rng: Rng, text: str) -> bytes:
    """Puts spaces behind lines."""
    return "".join(f"{line}  \n" for line in text.splitlines()).encode()


def from_a_spreadsheet(rng: Rng, text: str) -> bytes:
    """Does what a spreadsheet does: mark, quotes, line ends."""
    return b"\xef\xbb\xbf" + with_quotes(rng, text).replace(b"\n", b"\r\n")


HARMLESS: tuple[Callable[[Rng, str], bytes], ...] = (
    with_mark,
    with_other_line_ends,
    with_blank_lines,
    with_quotes,
    with_spaces,
    from_a_spreadsheet,
)
"""What leaves the content of a table as it was."""

NONSENSE = (
    "",
    " ",
    "nan",
    "inf",
    "-1",
    "1e999",
    "0x10",
    "1_0",
    "1,5",
    "1;5",
    "٣",
    "Hydra",
    "No Finding",
    "Mass|Mass",
    "|",
    "../../etc/passwd",
    "a\tb",
    '"',
    "'; DROP TABLE",
    "=1+1",
    "\x1b[2J",
    "\u202egnp.1",
    "1e308",
    "-1e308",
    "5e-324",
    "99999999999999999999",
    "058Y",
    "3.0000000000000000000001",
)


def with_nonsense(rng: Rng, text: str) -> bytes:
    """Puts something else in the place of some fields."""
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(rng.geometric(0.6)):
        row = rows[rng.integers(0, len(rows))]
        if row:
            row[rng.integers(0, len(row))] = NONSENSE[rng.integers(0, len(NONSENSE))]
    return joined(rows)


def without_column(rng: Rng, text: str) -> bytes:
    """Leaves a column out."""
    rows = list(csv.reader(io.StringIO(text)))
    place = int(rng.integers(0, max(map(len, rows))))
    return joined([row[:place] + row[place + 1 :] for row in rows])


def with_other_columns(rng: Rng, text: str) -> bytes:
    """Puts columns in another order."""
    rows = list(csv.reader(io.StringIO(text)))
    order = rng.permutation(max(map(len, rows)))
    return joined([[row[place] for place in order if place < len(row)] for row in rows])


def with_other_rows(rng: Rng, text: str) -> bytes:
    """Leaves a row out, or has one twice or in another place."""
    lines = text.splitlines(keepends=True)
    place = int(rng.integers(0, len(lines)))
    change = rng.integers(0, 3)
    if change == 0:
        del lines[place]
    elif change == 1:
        lines.insert(int(rng.integers(0, len(lines))), lines[place])
    else:
        lines.insert(int(rng.integers(0, len(lines))), lines.pop(place))
    return "".join(lines).encode()


def with_open_quote(rng: Rng, text: str) -> bytes:
    """Puts a quote somewhere that nothing closes."""
    place = int(rng.integers(0, len(text)))
    return (text[:place] + '"' + text[place:]).encode()


def with_nul(rng: Rng, text: str) -> bytes:
    """Puts NUL bytes somewhere."""
    place = int(rng.integers(0, len(text)))
    return (text[:place] + "\0" * int(rng.integers(1, 9)) + text[place:]).encode()


def in_another_encoding(rng: Rng, text: str) -> bytes:
    """Encodes the text otherwise than in UTF-8."""
    place = int(rng.integers(0, len(text)))
    encoding = ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252")[rng.integers(0, 5)]
    return (text[:place] + "ö" + text[place:]).encode(encoding)


def with_long_line(rng: Rng, text: str) -> bytes:
    """Has a line of 10 MB: one field, or millions, or one of quotes."""
    lines = text.splitlines()
    filling = ("x", ",", "x,", '""', "0", '"', "|")[rng.integers(0, 7)]
    place = int(rng.integers(0, len(lines)))
    long = filling * (10**7 // len(filling))
    lines[place] = lines[place] + long if rng.random() < 0.5 else long + lines[place]
    return ("\n".join(lines) + "\n").encode()


def with_other_separator(rng: Rng, text: str) -> bytes:
    """Separates fields by something else."""
    return text.replace(",", (";", "\t", " ", "|")[rng.integers(0, 4)]).encode()


def something_else(rng: Rng, text: str) -> bytes:
    """Is no such file at all."""
    contents = (
        b"",
        b"\n\n",
        b"\xef\xbb\xbf",
        rng.bytes(500),
        b"{}",
        b"<!DOCTYPE html><html>404 Not Found</html>",
        text.splitlines()[0].encode(),
        text.splitlines()[0].encode() + b"\n",
    )
    return contents[rng.integers(0, len(contents))]


HARMFUL: tuple[Callable[[Rng, str], bytes], ...] = (
    with_nonsense,
    with_nonsense,
    with_nonsense,
    without_column,
    with_other_columns,
    with_other_rows,
    with_open_quote,
    with_nul,
    in_another_encoding,
    with_other_separator,
    something_else,
)
"""What may change the content: read as what it says now, or refused."""


def joined(rows: Rows) -> bytes:
    """Returns rows as a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


def records(content: bytes) -> Rows:
    """Returns the fields of a CSV file as plainly as it can be read; the measure of the readers."""
    text = content.decode("utf-8-sig")
    csv.field_size_limit(2**30)
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    finally:
        csv.field_size_limit(131072)
    return [[field.strip() for field in row] for row in rows if any(field.strip() for field in row)]
