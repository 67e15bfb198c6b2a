"""Complete programs, each given one bad input: no traceback, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from jaxcxr.errors import UserError
from tests.torture.fuzzing import checkpoints, tables
from tests.torture.fuzzing.damage import Rng, pick, with_long_line
from tests.torture.fuzzing.images import a_png
from tests.torture.fuzzing.trial import Trial

REPOSITORY = Path(__file__).parents[3]


def trial(verb: str, *words: str | os.PathLike[str], out: Path | None = None) -> Trial:
    """Returns a program that has to refuse its input and to leave nothing at `out`."""

    def read() -> int:
        command = [sys.executable, "-m", "jaxcxr.cli", verb, *map(os.fspath, words)]
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=False
        )
        if "Traceback" in done.stderr or done.returncode < 0:
            raise RuntimeError(f"status {done.returncode}: {done.stderr[-1500:]}")
        if done.returncode and out is not None and out.exists():
            raise RuntimeError(f"left behind: {sorted(out.iterdir())}")
        if done.returncode:
            raise UserError(done.stderr[done.stderr.rfind("error:") :].strip())
        return done.returncode

    return Trial(f"jaxcxr {verb}", read, None, False, "error:")


def unreadable(rng: Rng, text: str) -> bytes:
    """Returns a table or list that no program can use."""
    encodings = [text.encode("utf-16"), text.replace(",", "\0", 3).encode(), text[:-3].encode()]
    return pick(rng, [*encodings, with_long_line(rng, text)])


def release(rng: Rng, folder: Path, *, bad: bool) -> Path:
    """Writes the lists of a release, one of which cannot be used if it is `bad`."""
    (folder / "release").mkdir()
    spoiled = pick(rng, (tables.METADATA, tables.BOXES)) if bad else None
    for name, text in tables.release_files().items():
        content = unreadable(rng, text) if name == spoiled else text.encode()
        (folder / "release" / name).write_bytes(content)
    return folder / "release"


def scores(rng: Rng, folder: Path) -> Trial:
    """A table of predictions or boxes that cannot be used, or such a list of the release."""
    name, verb = pick(rng, (("predictions", "evaluate_auc"), ("boxes", "evaluate_boxes")))
    bad_release = rng.random() < 0.3
    text, table, out = tables.system_files()[f"{name}.csv"], folder / "theirs.csv", folder / "out"
    table.write_bytes(text.encode() if bad_release else unreadable(rng, text))
    place = release(rng, folder, bad=bad_release)
    if rng.random() < 0.3:
        return trial("compare", table, folder / "none.csv", f"--release={place}")
    return trial(verb, f"--{name}={table}", f"--release={place}", f"--out={out}", out=out)


def preparation(rng: Rng, folder: Path) -> Trial:
    """A release with a bad list, or with damaged radiographs."""
    root, out = release(rng, folder, bad=rng.random() < 0.5), folder / "datasets"
    (root / "images").mkdir()
    for name in tables.release_files()[tables.TRAIN_VAL].splitlines():
        (root / "images" / name).write_bytes(a_png(rng)[0][:-30])
    words = (f"--release={root}", f"--data_dir={out}", "--image_size=32")
    return trial("prepare", *words, out=out)


def use_of_a_run(rng: Rng, folder: Path) -> Trial:
    """A damaged run, or one and nothing but damaged radiographs."""
    run, out = checkpoints.copied(folder), folder / "report.html"
    if rng.random() < 0.6:
        config = run / "config.json"
        config.write_bytes(config.read_bytes()[: rng.integers(0, 40)])
    if rng.random() < 0.4:
        (run / "config.json").write_bytes(b"[")
        return trial("report", f"--workdirs={run}", f"--out={out}", out=out)
    image = folder / pick(rng, ("a.png", "a\udcff\n.png"))
    image.write_bytes(a_png(rng)[0][:-30])
    return trial("predict", f"--workdir={run}", f"--out={folder / 'out'}", image)


def weights(rng: Rng, folder: Path) -> Trial:
    """Files that hold no weights."""
    source, out = folder / "weights.safetensors", folder / "out"
    source.write_bytes(pick(rng, (b"", rng.bytes(300), (2**60).to_bytes(8, "little") + b"{}")))
    words = (f"--source={source}", "--model=ResNet34", f"--out={out}")
    return trial("convert_weights", *words, out=out)


def training(rng: Rng, folder: Path) -> Trial:
    """Settings that are invalid, or a dataset that is missing."""
    settings = (
        "optimizer.learning_rate=nan",
        "data.image_size=-1",
        "initial_weights=",
        "x",
        "seed=0",
    )
    out = folder / "run"
    words = (f"--data_dir={folder / 'none'}", f"--workdir={out}", f"--config.{pick(rng, settings)}")
    return trial("train", "--config=demo", *words, out=out)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    scores: 7,
    preparation: 2,
    use_of_a_run: 4,
    weights: 2,
    training: 3,
}
"""How each kind of input is made, and how often."""
