"""What storage, transfer, editors and spreadsheets do to files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator


def pick(rng: Rng, choices: Sequence[Any]) -> Any:
    """Returns one of the choices, all as likely."""
    return choices[rng.integers(0, len(choices))]


def any_damage(rng: Rng, data: bytes) -> tuple[str, bytes]:
    """Returns the name of a way to damage a file, and the damaged file.

    One to eight flipped bits; or a stretch that is missing, doubled, noise or zeros, at the end
    (truncated, appended) or anywhere.
    """
    start = int(rng.integers(0, len(data)))
    length = int(min(rng.geometric(1 / 40), len(data) - start))
    rest = data[start + length :]
    filling = pick(rng, (rng.bytes(length), bytes(length)))
    way = pick(
        rng, ("truncated", "flipped", "flipped", "overwritten", "cut out", "doubled", "more")
    )
    if way == "flipped":
        content = bytearray(data)
        for _ in range(min(rng.geometric(0.6), 8)):
            content[rng.integers(0, len(content))] ^= 1 << rng.integers(0, 8)
        return way, bytes(content)
    return way, {
        "truncated": data[:start],
        "overwritten": data[:start] + filling + rest,
        "cut out": data[:start] + rest,
        "doubled": data[: start + length] + data[start:],
        "more": data + pick(rng, (rng.bytes(1000), bytes(1000))),
    }[way]


def quoted(text: str) -> str:
    """Returns a table with quotes around every field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(csv.reader(io.StringIO(text)))
    return buffer.getvalue()


HARMLESS: dict[str, Callable[[str], str]] = {
    "byte order mark": lambda text: "\ufeff" + text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n") + "\n\n",
    "spaces": lambda text: text.replace("\n", "  \n"),
    "quotes": quoted,
    "spreadsheet": lambda text: "\ufeff" + quoted(text).replace("\n", "\r\n"),
}
"""What leaves the content of a table as it was; all but quotes that of a list, too."""

NONSENSE = (
    *("", " ", "nan", "inf", "-1", "1e999", "0x10", "1_0", "1,5", "1;5", "٣", "Hydra", "1e308"),
    *("No Finding", "Mass|Mass", "|", "../../etc/passwd", "a\tb", '"', "=1+1", "\x1b[2J", "-1e308"),
    *("\u202egnp.1", "5e-324", "99999999999999999999", "058Y", "3.0000000000000000000001"),
)


def any_edit(rng: Rng, text: str) -> tuple[str, bytes]:
    """Returns the name of an edit of a table or list, and the file."""
    rows = list(csv.reader(io.StringIO(text)))
    place = int(rng.integers(0, len(text)))
    before, behind = text[:place], text[place:]
    edit = pick(rng, ("nonsense", "nonsense", "columns", "rows", "insert", "encoding", "other"))
    if edit == "nonsense":
        for _ in range(rng.geometric(0.6)):
            row = pick(rng, rows)
            row[rng.integers(0, len(row))] = pick(rng, NONSENSE)
    elif edit == "columns":
        order = rng.permutation(len(rows[0]))[: len(rows[0]) - rng.integers(0, 2)]
        rows = [[row[column] for column in order if column < len(row)] for row in rows]
    elif edit == "rows":
        moved = rows.pop(rng.integers(0, len(rows)))
        for _ in range(rng.integers(0, 3)):
            rows.insert(int(rng.integers(0, len(rows) + 1)), moved)
    elif edit == "insert":
        return edit, (before + pick(rng, ('"', "\0", "\0" * 8, "\r", "\x85")) + behind).encode()
    elif edit == "encoding":
        encoding = pick(rng, ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"))
        return edit, f"{before}ö{behind}".encode(encoding)
    else:
        first = text.splitlines()[0].encode()
        other = (b"", b"\n\n", b"\xef\xbb\xbf", rng.bytes(500), b"{}", first, first + b"\n")
        separator = text.replace(",", pick(rng, (";", "\t", " ", "|"))).encode()
        return edit, pick(rng, (*other, b"<!DOCTYPE html><html>404 Not Found</html>", separator))
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return edit, buffer.getvalue().encode()


def with_long_line(rng: Rng, text: str) -> bytes:
    """Returns a table with a line of 10 MB: one field, or millions, or quotes."""
    lines = text.splitlines()
    filling = pick(rng, ("x", ",", "x,", '""', "0", '"', "|"))
    place = int(rng.integers(0, len(lines)))
    lines[place] = pick(rng, ("{0}{1}", "{1}{0}")).format(
        lines[place], filling * (10**7 // len(filling))
    )
    return ("\n".join(lines) + "\n").encode()


def records(content: bytes) -> list[list[str]]:
    """Returns the fields of a CSV file, read in the plainest way; the reference of the readers."""
    csv.field_size_limit(2**30)
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    stripped = [[field.strip() for field in row] for row in rows]
    return [row for row in stripped if any(row)]
