"""Whole launch programs, each given one bad input: no traceback, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from jaxcxr.errors import UserError
from tests.torture.fuzzing import checkpoints, damage, lists, tables, texts
from tests.torture.fuzzing.images import a_png
from tests.torture.fuzzing.trial import Trial

Rng = np.random.Generator

REPOSITORY = Path(__file__).parents[3]
LIMIT = 240
"""Seconds by the clock for a program that starts, reads and ends."""


def trial(program: str, *words: str | os.PathLike[str], out: Path | None = None) -> Trial:
    """Returns the launch of a program that has to refuse its input.

    Args:
        program: Its name in launch/.
        words: Of its command line.
        out: What it may not leave behind.
    """

    def read() -> int:
        command = [sys.executable, f"launch/{program}.py", *map(os.fspath, words)]
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        if "Traceback" in done.stderr or done.returncode < 0:
            raise RuntimeError(f"status {done.returncode}: {done.stderr[-1500:]}")
        if done.returncode and out is not None and out.exists():
            raise RuntimeError(f"left behind: {sorted(out.iterdir())}")
        if done.returncode:
            raise UserError(done.stderr[done.stderr.rfind("error:") :].strip())
        return done.returncode

    return Trial(f"launch/{program}.py", read, None, False, "error:")


def release(folder: Path, other: Mapping[str, bytes | None]) -> Path:
    """Writes the lists of a release, some of them other than they should be."""
    root = folder / "release"
    root.mkdir()
    for name, text in lists.originals().items():
        content = other.get(name, text.encode())
        if content is not None:
            (root / name).write_bytes(content)
    return root


def bad_list(rng: Rng) -> dict[str, bytes | None]:
    """Returns a list of a release that no program can use."""
    text = lists.originals()[lists.METADATA]
    name, content = (
        (lists.METADATA, texts.in_another_encoding(rng, text)),
        (lists.METADATA, texts.with_nul(rng, text)),
        (lists.METADATA, texts.with_long_line(rng, text)),
        (lists.BOXES, lists.originals()[lists.BOXES][:-3].encode()),
        (lists.TEST, None),
    )[rng.integers(0, 5)]
    return {name: content}


def scores_of_a_table(rng: Rng, folder: Path) -> Trial:
    """A damaged table of predictions or boxes, or one for another release."""
    name, program = (("predictions", "evaluate_auc"), ("boxes", "evaluate_boxes"))[
        rng.integers(0, 2)
    ]
    text, table = tables.originals()[name], folder / "theirs.csv"
    if rng.random() < 0.7:
        ways = (texts.in_another_encoding, texts.with_nul, texts.with_long_line)
        table.write_bytes(ways[rng.integers(0, len(ways))](rng, text))
    else:
        table.write_text(text[:-3])
    out = folder / "out"
    words = (f"--{name}={table}", f"--release={release(folder, {})}", f"--out={out}")
    return trial(program, *words, out=out)


def scores_of_a_release(rng: Rng, folder: Path) -> Trial:
    table, out = folder / "theirs.csv", folder / "out"
    table.write_text(tables.originals()["boxes"])
    root = release(folder, bad_list(rng))
    words = (f"--boxes={table}", f"--release={root}", f"--out={out}")
    return trial("evaluate_boxes", *words, out=out)


def comparison(rng: Rng, folder: Path) -> Trial:
    for name in ("ours.csv", "theirs.csv"):
        content = damage.truncated(rng, tables.originals()["predictions"].encode()[:-1])
        (folder / name).write_bytes(content)
    root = release(folder, {})
    return trial("compare", folder / "ours.csv", folder / "theirs.csv", f"--release={root}")


def preparation(rng: Rng, folder: Path) -> Trial:
    """A release with a bad list, or with damaged radiographs."""
    root = release(folder, bad_list(rng) if rng.random() < 0.5 else {})
    (root / "images").mkdir()
    names = [
        *lists.originals()[lists.TRAIN_VAL].splitlines(),
        *lists.originals()[lists.TEST].splitlines(),
    ]
    for name in names:
        (root / "images" / name).write_bytes(damage.truncated(rng, a_png(rng)[0]))
    out = folder / "datasets"
    words = (f"--release={root}", f"--data_dir={out}", "--image_size=32")
    return trial("prepare", *words, out=out)


def prediction(rng: Rng, folder: Path) -> Trial:
    """A damaged run, or a run and nothing but damaged radiographs."""
    run = checkpoints.copied(folder)
    content = a_png(rng)[0]
    image = os.fsencode(folder) + b"/" + (b"a.png", b"a\xff\n.png")[rng.integers(0, 2)]
    broken = rng.random() < 0.5
    if broken:
        config = run / "config.json"
        config.write_bytes(damage.truncated(rng, config.read_bytes()[:-3]))
    else:
        content = damage.truncated(rng, content[:-12])
    with open(image, "wb") as file:
        file.write(content)
    words = (f"--workdir={run}", f"--out={folder / 'out'}", os.fsdecode(image))
    return trial("predict", *words)


def report(rng: Rng, folder: Path) -> Trial:
    run = checkpoints.copied(folder)
    config = run / "config.json"
    config.write_bytes(damage.truncated(rng, config.read_bytes()[:-3]))
    out = folder / "report.html"
    return trial("report", f"--workdirs={run}", f"--out={out}", out=out)


def weights(rng: Rng, folder: Path) -> Trial:
    """Weights that are none, or cut off."""
    source = folder / "weights.safetensors"
    contents = (
        b"",
        rng.bytes(300),
        (2**60).to_bytes(8, "little") + b"{}",
        b"\x08" + bytes(7) + b"{}      ",
    )
    source.write_bytes(contents[rng.integers(0, len(contents))])
    out = folder / "out"
    words = (f"--source={source}", "--model=ResNet34", f"--out={out}")
    return trial("convert_weights", *words, out=out)


def training(rng: Rng, folder: Path) -> Trial:
    """Settings and folders that are not what they should be."""
    word = (
        "--config.optimizer.learning_rate=nan",
        "--config.model.backbone.blocks=()",
        "--config.data.image_size=-1",
        "--config.initial_weights=",
        "--config.seed=99999999999999999999",
        "--config.x",
    )[rng.integers(0, 6)]
    out = folder / "run"
    config = "--config=configs/demo.py"
    words = (config, f"--data_dir={folder / 'none'}", f"--workdir={out}", word)
    return trial("train", *words, out=out)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    scores_of_a_table: 4,
    scores_of_a_release: 2,
    comparison: 2,
    preparation: 2,
    prediction: 3,
    report: 1,
    weights: 2,
    training: 3,
}
"""How each kind of input is made, and how often."""
