"""Folders of runs whose checkpoints or settings were damaged, for training and for prediction."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxcxr as cxr
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import classifier_config
from jaxcxr.runs import checkpoints
from jaxcxr.runs.checkpoints import Restored
from jaxcxr.runs.workdir import claim_workdir
from jaxcxr.training.history import History
from jaxcxr.training.state import TrainState, create_state, initial_variables
from tests.torture.fuzzing import damage
from tests.torture.fuzzing.trial import Trial

Rng = np.random.Generator

EPOCHS, BEST = 3, 2
NETWORK = cxr.Classifier(cxr.ResNet18(blocks=(1,), width=2), cxr.Baseline())
CONFIG = {"model": classifier_config(NETWORK), "data": {"image_size": 16}, "seed": 0}


@functools.cache
def state_of(epoch: int) -> TrainState:
    """Returns a state that tells its epoch by every number in it."""
    transformation = cxr.adam(1e-3).transformation(1, EPOCHS)
    first = create_state(initial_variables(NETWORK, 16, seed=0), transformation)
    return jax.tree.map(lambda leaf: leaf + np.asarray(epoch, leaf.dtype), first)


def history_of(epochs: int) -> History:
    """Returns a history whose best epoch is `BEST`."""
    losses = [abs(epoch - BEST) + 0.5 for epoch in range(1, epochs + 1)]
    return History(
        tuple({"epoch": n, "loss": loss, "val_loss": loss} for n, loss in enumerate(losses, 1))
    )


@functools.cache
def original() -> Path:
    """Returns the folder of a run of three epochs, the best of which is the second."""
    workdir = Path(tempfile.mkdtemp(prefix="run-"))
    claim_workdir(workdir, CONFIG)
    with checkpoints.open_checkpoints(workdir, keep=EPOCHS) as opened:
        for epoch in range(1, EPOCHS + 1):
            checkpoints.save(opened, state_of(epoch), history_of(epoch), settings=CONFIG)
    return workdir


def trial(folder: Path, kind: str, changed: set[int], names: str = "") -> list[Trial]:
    """Returns what may be done with a run: go on with the training, and predict.

    Args:
        folder: The run, some checkpoints of which were damaged.
        kind: What was done.
        changed: Epochs whose checkpoints were touched: the others must be used where they serve.
        names: What a refusal names.
    """
    latest_must = EPOCHS not in changed or len(changed) < EPOCHS

    def restore() -> Restored | None:
        opened = checkpoints.open_checkpoints(folder)
        with opened:
            return checkpoints.restore_latest(opened, state_of(1))

    def predict() -> Predictor:
        return Predictor.from_run(folder)

    return [
        Trial(f"checkpoints, {kind}, train", restore, wrong_state, latest_must, names),
        Trial(f"checkpoints, {kind}, predict", predict, wrong_network, not changed, names),
    ]


def wrong_state(found: Restored | None) -> str | None:
    """Tells what is wrong with a state that should be the one saved after an epoch."""
    if found is None:
        return "no checkpoint was found"
    epochs = len(found.history)
    if not 1 <= epochs <= EPOCHS or found.history != history_of(epochs):
        return f"history {found.history}"
    return difference(found.state, state_of(epochs), f"epoch {epochs}")


def wrong_network(found: Predictor) -> str | None:
    """Tells what is wrong with a network that should be that of the best epoch."""
    if found.model != NETWORK or found.image_size != 16:
        return f"{found.model} at {found.image_size} pixels"
    if found.epoch != BEST:
        return f"epoch {found.epoch} in place of {BEST}"
    return difference(found.variables, state_of(BEST).evaluated, f"epoch {BEST}")


def difference(ours: Any, theirs: Any, what: str) -> str | None:
    """Tells whether any bit of two trees of arrays differs."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    same = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
    return None if same else f"other numbers than those of {what}"


def copied(folder: Path) -> Path:
    """Returns a copy of the run."""
    return Path(shutil.copytree(original(), folder / "run"))


def either(rng: Rng, trials: list[Trial]) -> Trial:
    """Returns one of them."""
    return trials[rng.integers(0, len(trials))]


def files_in(folder: Path) -> list[Path]:
    """Returns all files under a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def whole(rng: Rng, folder: Path) -> Trial:
    return either(rng, trial(copied(folder), "whole", set()))


def damaged(rng: Rng, folder: Path) -> Trial:
    """Bytes of one to three files of one or two checkpoints."""
    run = copied(folder)
    changed, ways = set(), set()
    for _ in range(rng.integers(1, 4)):
        epoch = int(rng.integers(2, EPOCHS + 1)) if rng.random() < 0.8 else 1
        files = files_in(run / "checkpoints" / str(epoch))
        path = files[rng.integers(0, len(files))]
        if path.stat().st_size:
            way, content = damage.any_way(rng, path.read_bytes())
            path.write_bytes(content)
            changed.add(epoch)
            ways.add(way)
    return either(rng, trial(run, "+".join(sorted(ways)) if len(ways) == 1 else "bytes", changed))


def damaged_manifest(rng: Rng, folder: Path) -> Trial:
    run = copied(folder)
    path = run / "checkpoints" / str(EPOCHS) / "manifest.json"
    if rng.random() < 0.6:
        way, content = damage.any_way(rng, path.read_bytes())
    else:
        contents = (
            b"",
            b"{}",
            b"[]",
            b"null",
            b"1",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"manifest":1}',
        )
        way, content = "replaced", contents[rng.integers(0, len(contents))]
    path.write_bytes(content)
    return either(rng, trial(run, f"manifest {way}", {EPOCHS}))


def files_gone(rng: Rng, folder: Path) -> Trial:
    """Files or folders missing, empty, of another kind, or of another checkpoint."""
    run = copied(folder)
    epoch = int(rng.integers(1, EPOCHS + 1))
    place = run / "checkpoints" / str(epoch)
    files = files_in(place)
    path = files[rng.integers(0, len(files))]
    what = ("missing", "empty", "a folder", "swapped", "all missing", "a file", "a dead link")[
        rng.integers(0, 7)
    ]
    if what == "swapped":
        other = run / "checkpoints" / str(1 + epoch % EPOCHS) / path.relative_to(place)
        if other.is_file():
            shutil.copy(other, path)
    elif what in ("all missing", "a file"):
        shutil.rmtree(place)
        if what == "a file":
            place.write_bytes(b"?")
        else:
            place.mkdir()
    else:
        path.unlink()
        if what == "empty":
            path.write_bytes(b"")
        elif what == "a folder":
            path.mkdir()
        elif what == "a dead link":
            path.symlink_to(folder / "nowhere")
    return either(rng, trial(run, f"files {what}", {epoch}))


def strangers(rng: Rng, folder: Path) -> Trial:
    """Things among the checkpoints that are none."""
    run = copied(folder)
    names = ("notes.txt", ".DS_Store", "9", "03", "٣", "2+", "+1", "1e3", "9" * 200, ".partial-x")
    name = names[rng.integers(0, len(names))]
    place = run / "checkpoints" / name
    if rng.random() < 0.5:
        place.mkdir()
    else:
        place.write_bytes(rng.bytes(10))
    train, predict = trial(run, "strangers", set())
    is_position = name in ("9", "9" * 200)  # looks like the latest, or the best, and is damaged
    return either(rng, [train] if is_position else [train, predict])


def config_damaged(rng: Rng, folder: Path) -> Trial:
    """config.json says how the network is rebuilt; the checkpoint knows what it should say."""
    run = copied(folder)
    path = run / "config.json"
    way, content = damage.any_way(rng, path.read_bytes())
    path.write_bytes(content)
    return trial(run, f"config {way}", {BEST})[1]


VALUES = (None, True, 0, -1, 1, 3, 10**30, 1.5, "", "x", [], [1], ["a"], [10**9], {}, {"a": 1})


def config_edited(rng: Rng, folder: Path) -> Trial:
    """Other values in config.json."""
    run = copied(folder)
    path = run / "config.json"
    config = json.loads(path.read_text())
    tree = config
    while True:
        key = list(tree)[rng.integers(0, len(tree))]
        if not isinstance(tree[key], dict) or rng.random() < 0.2:
            break
        tree = tree[key]
    if rng.random() < 0.2:
        del tree[key]
    else:
        tree[key] = VALUES[rng.integers(0, len(VALUES))]
    path.write_text(json.dumps(config) if rng.random() < 0.95 else "[" * 100_000)
    return trial(run, "config edited", {BEST})[1]


def of_another_network(rng: Rng, folder: Path) -> Trial:
    """A run to go on with settings of another network."""
    run = copied(folder)
    other = cxr.Classifier(cxr.ResNet18(blocks=(1,), width=3), cxr.Baseline())
    like = create_state(
        initial_variables(other, 16, seed=0), cxr.adam(1e-3).transformation(1, EPOCHS)
    )

    def restore() -> Any:
        with checkpoints.open_checkpoints(run) as opened:
            return checkpoints.restore_latest(opened, like)

    return Trial("checkpoints, of another network", restore, None, False, str(run))


KINDS: dict[Callable[[Rng, Path], Trial], float] = {
    whole: 4,
    damaged: 35,
    damaged_manifest: 15,
    files_gone: 15,
    strangers: 6,
    config_damaged: 15,
    config_edited: 9,
    of_another_network: 1,
}
"""How each kind of input is made, and how often."""
