"""CSV files of predictions and of boxes, for the readers of any system's results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.evaluation.tables import IMAGE, read_boxes, read_predictions
from jaxcxr.findings import FINDINGS, canonical_finding
from tests.torture.fuzzing import damage, texts
from tests.torture.fuzzing.lists import decimal, first_difference
from tests.torture.fuzzing.trial import Trial

Rng = np.random.Generator

KNOWN = tuple(f"{number:08}_000.png" for number in range(30))


@functools.cache
def originals() -> dict[str, str]:
    """Returns a file of predictions and one of boxes."""
    rng = np.random.default_rng(0)
    predictions = [",".join([IMAGE, *FINDINGS])]
    boxes = [f"{IMAGE},Finding Label,x,y,w,h,score"]
    for name in KNOWN[:25]:
        predictions.append(",".join([name, *map(repr, rng.random(14).tolist())]))
        numbers = (*rng.uniform(0, 500, 2), *rng.uniform(1, 300, 2), rng.random())
        boxes.append(",".join([name, FINDINGS[rng.integers(0, 8)], *(f"{x:.7f}" for x in numbers)]))
    return {"predictions": "\n".join(predictions) + "\n", "boxes": "\n".join(boxes) + "\n"}


READERS = {"predictions": read_predictions, "boxes": read_boxes}


def trial(folder: Path, name: str, kind: str, content: bytes, must_accept: bool = False) -> Trial:
    """Writes a file to be read as predictions or as boxes."""
    path = folder / f"{name}.csv"
    path.write_bytes(content)
    wrong = wrong_predictions if name == "predictions" else wrong_boxes
    return Trial(
        f"{name}, {kind}",
        functools.partial(READERS[name], path, KNOWN),
        functools.partial(wrong, content),
        must_accept,
        path.name,
    )


def wrong_predictions(content: bytes, found: pd.DataFrame) -> str | None:
    """Tells where predictions are other than their file says, read in the plainest way."""
    header, *rows = texts.records(content)
    place = {canonical(name): index for index, name in enumerate(header)}
    order = [IMAGE, *(finding for finding in FINDINGS if finding in place)]
    if list(found) != order or len(place) != len(header):
        return f"columns {list(found)}"
    expected = [
        [row[place[IMAGE]], *(decimal(row[place[name]]) for name in order[1:])] for row in rows
    ]
    if found.to_numpy().tolist() != expected:
        return first_difference(found.to_numpy().tolist(), expected)
    values = np.array([row[1:] for row in expected], float)
    known = {row[0] for row in expected} <= set(KNOWN) and found[IMAGE].is_unique
    return None if known and ((values >= 0) & (values <= 1)).all() else "values out of bounds"


def wrong_boxes(content: bytes, found: pd.DataFrame) -> str | None:
    """Tells where boxes are other than their file says, read in the plainest way."""
    header, *rows = texts.records(content)
    place = {name: index for index, name in enumerate(header)}
    numbers = ["x", "y", "w", "h", *(["score"] if "score" in place else [])]
    expected = [
        [
            row[place[IMAGE]],
            canonical_finding(row[place["Finding Label"]]),
            *(decimal(row[place[name]]) for name in numbers),
        ]
        for row in rows
    ]
    ours = found[["image_name", "finding", *numbers]].to_numpy().tolist()
    if ours != expected:
        return first_difference(ours, expected)
    sides = found[["x", "y", "w", "h"]].to_numpy(float)
    sane = np.isfinite(sides).all() and (sides[:, 2:] > 0).all()
    return None if sane and set(found["image_name"]) <= set(KNOWN) else "values out of bounds"


def canonical(column: str) -> str:
    """Returns a column's name as the reader has it."""
    return column if column == IMAGE else canonical_finding(column.removeprefix("prob_"))


def either(rng: Rng) -> tuple[str, str]:
    """Returns the name and the text of one of the files."""
    return list(originals().items())[rng.integers(0, 2)]


def harmless(rng: Rng, folder: Path) -> Trial:
    name, text = either(rng)
    way = texts.HARMLESS[rng.integers(0, len(texts.HARMLESS))]
    return trial(folder, name, way.__name__, way(rng, text), must_accept=True)


def harmful(rng: Rng, folder: Path) -> Trial:
    name, text = either(rng)
    way = texts.HARMFUL[rng.integers(0, len(texts.HARMFUL))]
    return trial(folder, name, way.__name__, way(rng, text))


def damaged(rng: Rng, folder: Path) -> Trial:
    name, text = either(rng)
    way, content = damage.any_way(rng, text.encode())
    return trial(folder, name, way, content)


def cut(rng: Rng, folder: Path) -> Trial:
    """A file that ends within a line is not to be read; at a line's end it is whole."""
    name, text = either(rng)
    short = text[: rng.integers(0, len(text))]
    made = trial(folder, name, "truncated within a line", short.encode())
    if short.count("\n") and not short.endswith("\n"):
        return Trial(made.kind, made.read, None, False, made.names)
    return made


def long_line(rng: Rng, folder: Path) -> Trial:
    name, text = either(rng)
    return trial(folder, name, "with_long_line", texts.with_long_line(rng, text))


def other_table(rng: Rng, folder: Path) -> Trial:
    """Predictions given as boxes, and boxes as predictions."""
    name, text = either(rng)
    other = "boxes" if name == "predictions" else "predictions"
    made = trial(folder, other, "the other table", text.encode())
    return Trial(made.kind, made.read, None, False, made.names)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    harmless: 15,
    harmful: 45,
    damaged: 30,
    cut: 8,
    long_line: 1,
    other_table: 1,
}
"""How each kind of input is made, and how often."""
