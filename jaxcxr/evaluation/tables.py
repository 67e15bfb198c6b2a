"""The CSV files that scores are computed from: predictions, labels and boxes of any system.

A reader refuses what it cannot score, and says in which line it stands; it drops nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write
from jaxcxr.findings import FINDINGS, canonical_finding

IMAGE = "Image Index"
PATIENT = "Patient ID"
AGE = "Patient Age"
SEX = "Patient Gender"
VIEW = "View Position"
PEOPLE = (IMAGE, PATIENT, AGE, SEX, VIEW)

_FINDING = "Finding Label"
_CORNERS = ("x", "y", "w", "h")
_PREFIX = "prob_"
_SHOWN = 10
"""Problems of a file that are told one by one; the others are counted."""

_FARTHEST = 1e6
"""No radiograph has that many pixels in a row."""

_LONGEST_LINE = 10_000
"""Characters that a line has at most; lines of fourteen numbers have some 300."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""What is read as a number; Python would take 1_0 for ten."""

Lines = list[tuple[int, list[str]]]


def read_predictions(path: str | Path, known_images: Collection[str]) -> pd.DataFrame:
    """Reads probabilities: `Image Index` and one column per finding.

    A column may be called `prob_` and the finding, or spell the finding as NIH's box list does.
    Findings may be missing; see `missing_findings`.

    Args:
        path: The CSV file.
        known_images: Names of the release's radiographs.

    Returns:
        `Image Index` and the findings that the file has, in the order of `FINDINGS`, float64; the
        rows as in the file.

    Raises:
        UserError: The file cannot be read, has no rows, or (one line per problem, with its line
            number) an unknown or repeated column, an unknown or repeated image, a value that is no
            number from 0 to 1.
    """
    header, lines = _read_lines(path)
    findings = _finding_columns(path, header)
    problems = _Problems(path)
    problems.check_images(lines, header.index(IMAGE), known_images)
    problems.check_repeats(lines, _texts(lines, header.index(IMAGE)), "image")
    columns: dict[str, object] = {IMAGE: _texts(lines, header.index(IMAGE))}
    for finding in FINDINGS:
        if finding in findings:
            columns[finding] = problems.check_numbers(
                lines, findings[finding], finding, 0, 1, "a probability from 0 to 1"
            )
    problems.raise_any()
    return pd.DataFrame(columns)


def missing_findings(predictions: pd.DataFrame) -> list[str]:
    """Returns the findings for which a table of predictions has no column."""
    return [finding for finding in FINDINGS if finding not in predictions]


def read_boxes(path: str | Path, known_images: Collection[str]) -> pd.DataFrame:
    """Reads predicted boxes: `Image Index,Finding Label,x,y,w,h,score`.

    The column `score` may be missing. A file without rows says that nothing was found.

    Args:
        path: The CSV file.
        known_images: Names of the release's radiographs.

    Returns:
        Columns image_name, finding, x, y, w, h (float64, pixels of the original image) and score
        (NaN where the file has none); the rows as in the file.

    Raises:
        UserError: The file cannot be read, or (one line per problem, with its line number) has an
            unknown, repeated or missing column, an unknown image or finding, a corner that is no
            number, a box without area, a score outside 0..1, or a row twice.
    """
    header, lines = _read_lines(path, empty=True)
    _check_box_header(path, header)
    at = {name: header.index(name) for name in header}
    problems = _Problems(path)
    problems.check_images(lines, at[IMAGE], known_images)
    findings = problems.check_findings(lines, at[_FINDING])
    columns: dict[str, object] = {"image_name": _texts(lines, at[IMAGE]), "finding": findings}
    for name in ("x", "y"):
        columns[name] = problems.check_numbers(
            lines, at[name], name, -_FARTHEST, _FARTHEST, "a number of pixels"
        )
    for name in ("w", "h"):
        smallest = float(np.nextafter(0, 1))
        columns[name] = problems.check_numbers(
            lines, at[name], name, smallest, _FARTHEST, "a number of pixels above 0"
        )
    columns["score"] = np.full(len(lines), np.nan)
    if "score" in at:
        columns["score"] = problems.check_numbers(
            lines, at["score"], "score", 0, 1, "a score from 0 to 1"
        )
    box = [at[name] for name in (IMAGE, _FINDING, *_CORNERS)]
    same = [",".join(_plain(row[place]) for place in box) for _, row in lines]
    problems.check_repeats(lines, same, "box")
    problems.raise_any()
    return pd.DataFrame(columns)


def box_table(boxes: pd.DataFrame) -> pd.DataFrame:
    """Returns boxes (image_name, finding, x, y, w, h and maybe score) as boxes.csv has them."""
    names = {
        "image_name": IMAGE,
        "finding": _FINDING,
        **{name: name for name in (*_CORNERS, "score")},
    }
    return pd.DataFrame({names[name]: boxes[name] for name in names if name in boxes})


def label_table(images: pd.DataFrame, names: Iterable[str] | None = None) -> pd.DataFrame:
    """Returns the truth about radiographs as labels.csv has it.

    Args:
        images: One row per radiograph with image_name, patient, age, sex, view and the 14 findings,
            as `Release.images` has them.
        names: The radiographs to take, in this order; all by default.

    Returns:
        `Image Index`, `Patient ID`, `Patient Age`, `Patient Gender`, `View Position`, 14 findings.
    """
    chosen = images.set_index("image_name", drop=False)
    if names is not None:
        chosen = chosen.loc[list(names)]
    people = dict(zip(PEOPLE, ("image_name", "patient", "age", "sex", "view"), strict=True))
    columns = {**people, **{finding: finding for finding in FINDINGS}}
    return pd.DataFrame({name: chosen[column].to_numpy() for name, column in columns.items()})


def on_test_list(table: pd.DataFrame, images: pd.DataFrame) -> np.ndarray:
    """Returns (N,) bool: which rows of a table are about radiographs of the official test list.

    Args:
        table: With `Image Index` or image_name.
        images: Of a `Release`: image_name and official_split.
    """
    names = table[IMAGE if IMAGE in table else "image_name"].to_numpy()
    official = images["official_split"].to_numpy() == "test"
    return np.isin(names.astype(str), images["image_name"].to_numpy(str)[official])


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Writes a table as CSV atomically; NaN is an empty field.

    Numbers are written so that they are equal when read as float64: those of float32, too, whose
    shorter spelling is another number (0.1 for 0.10000000149).
    """
    single = table.select_dtypes(np.float32)
    table = table.astype(dict.fromkeys(single, np.float64))
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def _read_lines(path: str | Path, empty: bool = False) -> tuple[list[str], Lines]:
    """Returns the header and the rows of a CSV file, each with the number of its line."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
        _refuse_damage(path, text)
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); name a CSV file of predictions"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error.reason}); name a CSV file") from error
    except csv.Error as error:
        raise UserError(f"{path} is no valid CSV file ({error}); write it anew") from error
    if not lines or (len(lines) == 1 and not empty):
        raise UserError(
            f"{path} has {'no rows below its header' if lines else 'no lines'}; "
            "there is nothing to score"
        )
    header = [name.strip() for name in lines[0][1]]
    problems = _Problems(path)
    for number, row in lines[1:]:
        if len(row) != len(header):
            problems.add(number, f"{len(row)} values where the header has {len(header)} columns")
    problems.raise_any()
    return header, lines[1:]


def _refuse_damage(path: str | Path, text: str) -> None:
    """Refuses what no program writes: endless lines, and a last line that is cut off."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST_LINE:
            raise UserError(
                f"{path}, line {number}: {len(line):,} characters; expected at most "
                f"{_LONGEST_LINE:,}; write the file anew"
            )
    if len(lines) > 1 and not text.endswith(("\n", "\r")):
        raise UserError(
            f"{path}, line {len(lines)}: the file ends within this line, which may be cut off; "
            "copy it again, or end the line if it is whole"
        )


def _finding_columns(path: str | Path, header: list[str]) -> dict[str, int]:
    """Returns the place of each finding in the header of a predictions file."""
    places: dict[str, int] = {}
    problems = _Problems(path)
    if header.count(IMAGE) != 1:
        problems.add(1, f"{header.count(IMAGE)} columns are called {IMAGE!r}; expected one")
    for place, name in enumerate(header):
        try:
            finding = canonical_finding(name.removeprefix(_PREFIX))
        except KeyError:
            if name != IMAGE:
                problems.add(1, f"column {name!r} is none of the 14 findings; take it out")
            continue
        if finding in places:
            problems.add(1, f"column {name!r} is the second one for {finding}; keep one")
        places[finding] = place
    if not places:
        problems.add(1, "no column is a finding; expected " + ", ".join(FINDINGS))
    problems.raise_any()
    return places


def _check_box_header(path: str | Path, header: list[str]) -> None:
    required = (IMAGE, _FINDING, *_CORNERS)
    if sorted(header) not in (sorted(required), sorted((*required, "score"))):
        raise UserError(
            f"{path}, line 1: the header is {','.join(header)!r}; "
            f"expected {','.join((*required, 'score'))!r} (score may be missing)"
        )


def _texts(lines: Lines, place: int) -> list[str]:
    return [row[place].strip() for _, row in lines]


def _plain(text: str) -> str:
    """Returns one spelling of a number that may be written as 75, 75.0 or 7.5e1."""
    try:
        return f"{float(text):.12g}"
    except ValueError:
        return text.strip()


class _Problems:
    """What is wrong with a file, collected so that all of it is told at once."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, text: str) -> None:
        self._found.append((line, text))

    def raise_any(self) -> None:
        if not self._found:
            return
        self._found.sort(key=lambda problem: problem[0])
        told = [f"{self._path}, line {line}: {text}" for line, text in self._found[:_SHOWN]]
        if len(self._found) > _SHOWN:
            told.append(f"{self._path}: and {len(self._found) - _SHOWN} more such problems")
        raise UserError("\n".join(told))

    def check_images(self, lines: Lines, place: int, known_images: Collection[str]) -> None:
        known = set(known_images)
        for number, row in lines:
            if row[place].strip() not in known:
                self.add(number, f"image {row[place]!r} is not in the release's metadata")

    def check_findings(self, lines: Lines, place: int) -> list[str]:
        findings = []
        for number, row in lines:
            try:
                findings.append(canonical_finding(row[place]))
            except KeyError:
                self.add(number, f"finding {row[place]!r} is none of the 14 findings")
                findings.append("")
        return findings

    def check_numbers(
        self,
        lines: Lines,
        place: int,
        name: str,
        low: float = -np.inf,
        high: float = np.inf,
        what: str = "a number",
    ) -> np.ndarray:
        values = np.full(len(lines), np.nan)
        for index, (number, row) in enumerate(lines):
            text = row[place].strip()
            value = float(text) if _NUMBER.fullmatch(text) else np.nan
            if not low <= value <= high or np.isinf(value):
                self.add(number, f"{name} is {row[place]!r}; expected {what}")
            values[index] = value
        return values

    def check_repeats(self, lines: Lines, keys: Sequence[str], noun: str) -> None:
        first: dict[str, int] = {}
        for (number, _), key in zip(lines, keys, strict=True):
            if key in first:
                self.add(number, f"{noun} {key!r} is also in line {first[key]}; keep one")
            else:
                first[key] = number
