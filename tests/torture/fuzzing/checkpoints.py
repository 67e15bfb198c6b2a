"""Folders of runs whose checkpoints or settings were damaged, for training and for prediction."""

from __future__ import annotations

import contextlib
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
from jaxcxr.runs.checkpoints import Checkpoints
from jaxcxr.runs.workdir import claim_workdir
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History
from jaxcxr.training.state import TrainState, create_state, initial_variables
from tests.torture.fuzzing.damage import Rng, any_damage, pick
from tests.torture.fuzzing.trial import Trial

EPOCHS, BEST = 3, 2
NETWORK = cxr.Classifier(cxr.ResNet18(blocks=(1,), width=2), cxr.Baseline())
CONFIG = {"model": classifier_config(NETWORK), "data": {"image_size": 16}, "seed": 0}


@functools.cache
def state_of(epoch: int) -> TrainState:
    """Returns a state in which every number gives its epoch."""
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
    with contextlib.closing(Checkpoints(workdir, keep=EPOCHS)) as opened:
        for epoch in range(1, EPOCHS + 1):
            opened.save(Progress(state_of(epoch), history_of(epoch), EPOCHS, CONFIG))
    return workdir


def copied(folder: Path) -> Path:
    """Returns a copy of the run."""
    return Path(shutil.copytree(original(), folder / "run"))


def restoring(run: Path, kind: str, changed: set[int]) -> Trial:
    """Returns the resume of a training: an epoch that was not changed must serve."""

    def restore() -> Progress | None:
        with contextlib.closing(Checkpoints(run)) as opened:
            return opened.restore_latest(Progress(state_of(1), History(), EPOCHS, CONFIG))

    return Trial(f"run, {kind}, train", restore, wrong_state, len(changed) < EPOCHS)


def predicting(run: Path, kind: str, changed: set[int]) -> Trial:
    """Returns the use of a trained network: that of the best epoch, or a refusal."""
    read = functools.partial(Predictor.from_run, run)
    return Trial(f"run, {kind}, predict", read, wrong_network, not changed)


def wrong_state(found: Progress | None) -> str | None:
    """Returns what is wrong with a state that should be the one saved after an epoch."""
    if found is None:
        return "no checkpoint was found"
    epochs = len(found.history)
    if not 1 <= epochs <= EPOCHS or found.history != history_of(epochs):
        return f"history {found.history}"
    return difference(found.state, state_of(epochs), f"epoch {epochs}")


def wrong_network(found: Predictor) -> str | None:
    """Returns what is wrong with a network that should be that of the best epoch."""
    if (found.model, found.image_size, found.epoch) != (NETWORK, 16, BEST):
        return f"epoch {found.epoch} at {found.image_size} pixels: {found.model}"
    return difference(found.variables, state_of(BEST).evaluated, "the best epoch")


def difference(ours: Any, theirs: Any, what: str) -> str | None:
    """Returns whether any bit of two trees of arrays differs."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    same = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
    return None if same else f"other numbers than those of {what}"


def damaged(rng: Rng, folder: Path) -> Trial:
    """A few files of one or two checkpoints: damaged, missing, replaced; or nothing at all."""
    run, changed, way = copied(folder), set(), "complete"
    for _ in range(rng.integers(0, 4)):
        epoch = int(pick(rng, (1, 2, 2, 3, 3, 3)))
        place = run / "checkpoints" / str(epoch)
        files = sorted(path for path in place.rglob("*") if path.is_file())
        if not files:
            continue
        manifests = [path for path in files if path.name in ("SHA256SUMS", "_CHECKPOINT_METADATA")]
        path = pick(rng, manifests if manifests and rng.random() < 0.2 else files)
        content = path.read_bytes()
        way, other = any_damage(rng, content) if content else ("filled", b"?")
        if rng.random() < 0.4:
            way = pick(rng, ("missing", "empty", "a folder", "a dead link", "JSON", "all missing"))
            path.unlink()
            other = pick(rng, (b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000))
        if way == "a folder":
            path.mkdir()
        elif way == "a dead link":
            path.symlink_to(folder / "nowhere")
        elif way == "all missing":
            shutil.rmtree(place)
            pick(rng, (place.touch, place.mkdir))()
        elif way != "missing":
            path.write_bytes(b"" if way == "empty" else other)
        changed.add(epoch)
    return pick(rng, (restoring, predicting))(run, way, changed)


def strangers(rng: Rng, folder: Path) -> Trial:
    """Things among the checkpoints that are not checkpoints."""
    run = copied(folder)
    names = ("notes.txt", ".DS_Store", "9", "03", "٣", "2+", "+1", "1e3", "9" * 200, ".partial-x")
    name = pick(rng, names)
    place = run / "checkpoints" / name
    pick(rng, (place.touch, place.mkdir))()
    looks_latest = name in ("9", "9" * 200)
    use = restoring if looks_latest else pick(rng, (restoring, predicting))
    return use(run, "strangers", set())


def config_damaged(rng: Rng, folder: Path) -> Trial:
    """config.json says how the network is rebuilt; the checkpoint knows what it should say."""
    run = copied(folder)
    path = run / "config.json"
    if rng.random() < 0.6:
        way, content = any_damage(rng, path.read_bytes())
        path.write_bytes(content)
        return predicting(run, f"config {way}", {BEST})
    tree = config = json.loads(path.read_text())
    key = pick(rng, list(tree))
    while isinstance(tree[key], dict) and tree[key] and rng.random() < 0.8:
        tree = tree[key]
        key = pick(rng, list(tree))
    del tree[key]
    if rng.random() < 0.8:
        values = (None, True, 0, -1, 1, 3, 10**30, 1.5, "", "x", [], [1], ["a"], [10**9], {})
        tree[key] = pick(rng, values)
    path.write_text(json.dumps(config))
    return predicting(run, "config edited", {BEST})


KINDS: dict[Callable[[Rng, Path], Trial], float] = {damaged: 70, strangers: 6, config_damaged: 24}
"""How each kind of input is made, and how often."""
