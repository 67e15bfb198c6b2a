"""What storage, transfer, editors and spreadsheets do to files, as strategies of Hypothesis."""

from __future__ import annotations

import csv
import io

import hypothesis.strategies as st
import numpy as np

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def damaged(draw: st.DrawFn, content: bytes, first: int = 0) -> bytes:
    """Flipped bits, or a stretch cut out, repeated, overwritten, or appended; or a cut file.

    Args:
        draw: Of Hypothesis.
        content: A complete file.
        first: The first byte that may be damaged.
    """
    way = draw(st.sampled_from(("flip", "flip", "cut", "remove", "repeat", "overwrite", "append")))
    if way == "flip":
        bits = st.integers(8 * first, 8 * len(content) - 1)
        changed = bytearray(content)
        for bit in draw(st.lists(bits, min_size=1, max_size=8)):
            changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)
    start = draw(st.integers(first, len(content) - 1))
    length = draw(st.integers(1, 100))
    before, stretch, rest = content[:start], content[start:][:length], content[start + length :]
    filling = draw(st.sampled_from((bytes(length), np.random.default_rng(start).bytes(length))))
    return {
        "cut": before,
        "remove": before + rest,
        "repeat": before + stretch + stretch + rest,
        "overwrite": before + filling[: len(stretch)] + rest,
        "append": content + 10 * filling,
    }[way]


def with_quotes(text: str) -> str:
    """Returns a table with quotes around every field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(csv.reader(io.StringIO(text)))
    return buffer.getvalue()


HARMLESS = (
    lambda text: "\ufeff" + text,
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("\n", "\n\n") + "\n\n",
    lambda text: text.replace("\n", "  \n"),
    with_quotes,
    lambda text: "\ufeff" + with_quotes(text).replace("\n", "\r\n"),
)
"""What leaves the content of a table as it was; all but quotes that of a list, too."""

NONSENSE = (
    *("", " ", "nan", "inf", "-1", "1e999", "0x10", "1_0", "1,5", "1;5", "٣", "Hydra", "1e308"),
    *("No Finding", "Mass|Mass", "|", "../../etc/passwd", "a\tb", '"', "=1+1", "\x1b[2J", "-1e308"),
    *("\u202egnp.1", "5e-324", "99999999999999999999", "058Y", "3.0000000000000000000001"),
)


@st.composite
def edited(draw: st.DrawFn, text: str) -> bytes:
    """A table or list with other values, columns, rows, encoding, separator or content."""
    rows = list(csv.reader(io.StringIO(text)))
    place = draw(st.integers(0, len(text) - 1))
    before, behind = text[:place], text[place:]
    edit = draw(st.sampled_from(("value", "value", "columns", "rows", "insert", "encode", "other")))
    if edit == "value":
        for _ in range(draw(st.integers(1, 3))):
            row = draw(st.sampled_from(rows))
            row[draw(st.integers(0, len(row) - 1))] = draw(st.sampled_from(NONSENSE) | st.text())
    elif edit == "columns":
        order = draw(st.permutations(range(len(rows[0]))))[draw(st.integers(0, 1)) :]
        rows = [[row[column] for column in order if column < len(row)] for row in rows]
    elif edit == "rows":
        moved = rows.pop(draw(st.integers(0, len(rows) - 1)))
        for index in draw(st.lists(st.integers(0, len(rows)), max_size=2)):
            rows.insert(index, moved)
    elif edit == "insert":
        return (before + draw(st.sampled_from(('"', "\0", "\r", "\x85"))) + behind).encode()
    elif edit == "encode":
        encodings = ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252")
        return f"{before}ö{behind}".encode(draw(st.sampled_from(encodings)))
    else:
        head = text.splitlines()[0]
        others = ("", "\n\n", "\ufeff", "{}", head, head + "\n", "<!DOCTYPE html>404 Not Found")
        separated = [text.replace(",", separator) for separator in ";\t |"]
        return draw(st.sampled_from((*others, *separated)).map(str.encode) | st.binary())
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode("utf-8", "surrogatepass")


def records(content: bytes) -> list[list[str]]:
    """Returns the fields of a CSV file, read in the plainest way; the reference of the readers."""
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    stripped = [[field.strip() for field in row] for row in rows]
    return [row for row in stripped if any(row)]
