"""Checkpoints of a run: Orbax folders under `workdir/checkpoints`.

A checkpoint is named by its position: `3` is the end of epoch 3, `3+120` lies 120 steps into
epoch 4. Each holds two Orbax items, `evaluated` (the parameters and batch norm statistics to
predict with) and `training` (all else that the next step starts from), and `manifest.json`: the
history, the unfinished epoch, the shapes of all arrays, and the SHA-256 of every file and of
itself. It is written to a temporary folder, flushed to the disk and renamed when it is complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.files import reason_of, require_space
from jaxcxr.runs.workdir import different_settings
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.state import TrainState, Variables

FORMAT = 1
"""Version of the layout of a checkpoint."""

KEEP_LATEST = 2

_SPACE_BESIDE_ARRAYS = 1024**2
"""Bytes on the disk that a checkpoint takes beside its arrays', at most: half-filled blocks."""

_SAVING = threading.Lock()
"""Two savers of Orbax at the same time in one process miss each other's files."""

_MANIFEST = "manifest.json"
_ASIDE = ".partial-"


@dataclasses.dataclass(frozen=True, order=True)
class Position:
    """A place in a training.

    Attributes:
        epochs: Number of epochs done.
        steps: Number of steps done of the next one.
    """

    epochs: int
    steps: int = 0

    def __str__(self) -> str:
        return f"{self.epochs}+{self.steps}" if self.steps else f"{self.epochs}"

    @classmethod
    def parse(cls, name: str) -> Position | None:
        """Returns the position that names a folder, None where the name is of another kind."""
        match = re.fullmatch(r"([0-9]+)(?:\+([0-9]+))?", name)
        position = cls(int(match[1]), int(match[2] or 0)) if match else None
        return position if str(position) == name else None  # "03" and "3" would be one


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that was read.

    Attributes:
        state: What the next step starts from.
        history: The epochs done.
        unfinished: The epoch under way.
        settings: Of the run that saved it.
    """

    state: TrainState
    history: History
    unfinished: UnfinishedEpoch
    settings: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of a run, open to be written; see `open_checkpoints`."""

    def __init__(self, folder: Path, keep: int, keep_best: bool) -> None:
        self.folder = folder
        self.keep = keep
        self.keep_best = keep_best
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def positions(self) -> list[Position]:
        """Returns the positions of all checkpoints, damaged ones included, the earliest first."""
        return _positions(self.folder)

    def start(self, write: Callable[[], None]) -> None:
        """Runs `write` in the background, after what was started before it."""
        self.wait()
        self._pending = self._writer.submit(write)

    def wait(self) -> None:
        """Waits until all is written.

        Raises:
            UserError: It cannot be.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits until all is written and ends the writer; errors as in `wait`."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()


def open_checkpoints(
    workdir: str | Path, keep: int = KEEP_LATEST, keep_best: bool = True
) -> Checkpoints:
    """Opens the checkpoints of a run.

    Args:
        workdir: Folder of the run.
        keep: How many of the latest to keep.
        keep_best: Whether to keep the epoch with the lowest validation loss as well.
    """
    return Checkpoints(Path(workdir).absolute() / "checkpoints", keep, keep_best)


def remove_leftovers(checkpoints: Checkpoints) -> None:
    """Removes temporary folders of killed processes; only the holder of the run's lock may."""
    for path in checkpoints.folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(path, ignore_errors=True)


def save(
    checkpoints: Checkpoints,
    state: TrainState,
    history: History,
    unfinished: UnfinishedEpoch = UnfinishedEpoch(),  # noqa: B008, frozen
    settings: Mapping[str, Any] | None = None,
    *,
    model_only: bool = False,
) -> None:
    """Saves a training; the files are written in the background.

    The state is the same in every process, so the first one writes it and the others return.

    Args:
        checkpoints: See `open_checkpoints`.
        state: What the next step starts from.
        history: The finished epochs.
        unfinished: The epoch under way.
        settings: Of the run, to be compared when it is resumed.
        model_only: Whether to save the variables to predict with alone.

    Raises:
        UserError: The checkpoint before could not be written.
    """
    if not is_primary_process():
        return
    position = Position(len(history), unfinished.steps)
    items = {"evaluated": state.evaluated} if model_only else _items(state)
    items = jax.tree.map(np.array, items)  # copies: the next step reuses the memory
    manifest = {
        "format": FORMAT,
        "jaxcxr": importlib.metadata.version("jaxcxr"),
        "history": list(history.epochs),
        "unfinished": dataclasses.asdict(unfinished),
        "settings": dict(settings or {}),
        "arrays": _describe(items),
    }
    best = history.best_epoch() if checkpoints.keep_best else None
    kept = None if best is None else Position(best)
    checkpoints.start(lambda: _write(checkpoints, position, items, manifest, kept))


def _write(
    checkpoints: Checkpoints,
    position: Position,
    items: Mapping[str, Any],
    manifest: dict[str, Any],
    best: Position | None,
) -> None:
    path = checkpoints.folder / str(position)
    try:
        checkpoints.folder.mkdir(parents=True, exist_ok=True)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
        require_space(checkpoints.folder, size + _SPACE_BESIDE_ARRAYS)
        with _aside(checkpoints.folder) as aside:
            _write_items(aside / "items", items)
            os.rename(aside / "items", aside / "complete")
            _write_manifest(aside / "complete", manifest)
            if path.exists():
                os.rename(path, aside / "replaced")
            os.rename(aside / "complete", path)
            _flush(checkpoints.folder)
            latest = [p for p in checkpoints.positions() if p <= position][-checkpoints.keep :]
            for old in set(checkpoints.positions()) - {best, *latest}:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(checkpoints.folder / str(old), aside / str(old))
    except (OSError, ValueError) as error:  # TensorStore reports a full disk as a ValueError
        raise UserError(_cannot_be_written(path, error)) from error


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Yields a folder that is removed in the end, with its content."""
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_items(path: Path, items: Mapping[str, Any]) -> None:
    saved = {
        name: ocp.args.StandardSave(item)  # pyright: ignore[reportCallIssue]
        for name, item in items.items()
    }
    with _SAVING, _orbax_errors_only_raised(), _checkpointer() as checkpointer:
        checkpointer.save(path, args=ocp.args.Composite(**saved))


def _checkpointer() -> ocp.Checkpointer:
    """Returns Orbax' writer and reader for this process alone, which waits for no other."""
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    options = ocp.CompositeOptions(multiprocessing_options=alone)
    handler = ocp.CompositeCheckpointHandler(composite_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _orbax_errors_only_raised() -> Iterator[None]:
    """Keeps Orbax from printing the traceback of an error that it raises as well.

    After a failure the filter stays: threads and tasks print when they end.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]

    def is_not_orbax(record: logging.LogRecord) -> bool:
        return "orbax" not in record.pathname and "orbax" not in record.getMessage()

    for logger in loggers:
        logger.addFilter(is_not_orbax)
    yield
    for logger in loggers:
        logger.removeFilter(is_not_orbax)


def _cannot_be_written(path: Path, error: Exception) -> str:
    return (
        f"{path} cannot be written: {reason_of(error)}; fix that (free space, permission, "
        "the folder) and start the run again, which resumes after the checkpoint before"
    )


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest; when it returns, the complete checkpoint is on the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    body = {**manifest, "files": {str(path.relative_to(folder)): _sha256(path) for path in files}}
    (folder / _MANIFEST).write_text(json.dumps({"sha256": _sha256_of(body), "manifest": body}))
    for path in (*folder.rglob("*"), folder):
        _flush(path)


def _flush(path: Path) -> None:
    """Makes the operating system write a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems cannot flush folders
            raise
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


class _DamagedError(Exception):
    """A checkpoint differs from what was written."""


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a checkpoint.

    Raises:
        _DamagedError: It is missing or not as it was written.
        UserError: It is of another version.
    """
    try:
        content = json.loads((folder / _MANIFEST).read_bytes())
        manifest, checksum = content["manifest"], content["sha256"]
    except FileNotFoundError as error:
        raise _DamagedError(f"{_MANIFEST} is missing") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _DamagedError(f"{_MANIFEST} cannot be read") from error
    if _sha256_of(manifest) != checksum:
        raise _DamagedError(f"{_MANIFEST} does not have its checksum")
    if manifest["format"] != FORMAT:
        raise UserError(
            f"{folder} has format {manifest['format']}, written by jaxcxr {manifest['jaxcxr']}; "
            f"this is jaxcxr {importlib.metadata.version('jaxcxr')}, which reads format {FORMAT}. "
            "Use that version for this run, or train in another folder"
        )
    return manifest


def _verified_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a checkpoint whose files are all as they were written.

    Raises:
        _DamagedError: They are not.
        UserError: The checkpoint is of another version.
    """
    manifest = _read_manifest(folder)
    for name, checksum in manifest["files"].items():
        try:
            same = _sha256(folder / name) == checksum
        except OSError as error:
            raise _DamagedError(f"{name} cannot be read: {error.strerror}") from error
        if not same:
            raise _DamagedError(f"{name} does not have its checksum")
    return manifest


def restore_latest(checkpoints: Checkpoints, state: TrainState) -> Restored | None:
    """Returns the latest undamaged checkpoint, or None where there is none at all.

    A damaged one is named in one line, and the one before it is used.

    Args:
        checkpoints: See `open_checkpoints`.
        state: A state of the same network and optimizer; its shapes, dtypes and devices are those
            of the result.

    Raises:
        UserError: Every checkpoint is damaged; the latest is of another version or another network.
    """
    damaged = []
    for position in reversed(checkpoints.positions()):
        folder = checkpoints.folder / str(position)
        try:
            manifest = _verified_manifest(folder)
        except _DamagedError as error:
            damaged.append(f"{folder} is damaged ({error})")
            continue
        for problem in damaged:
            tqdm.write(f"{problem}; {position} before it is used instead")
        unfinished = manifest["unfinished"]
        return Restored(
            _restore_state(folder, manifest, state),
            History(tuple(manifest["history"])),
            UnfinishedEpoch(**{**unfinished, "losses": tuple(unfinished["losses"])}),
            manifest["settings"],
        )
    if damaged:
        raise UserError(
            f"{'; '.join(damaged)}; none is usable (or an early version of jaxcxr wrote them). "
            f"Copy them back from elsewhere, or remove {checkpoints.folder} to train from the start"
        )
    return None


def _restore_state(folder: Path, manifest: Mapping[str, Any], like: TrainState) -> TrainState:
    evaluated, training = _restore_items(folder, manifest, _items(like)).values()
    averaged = like.average is not None
    variables = training["variables"] if averaged else evaluated
    state = TrainState(
        step=training["step"],
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=training["opt_state"],
        average=evaluated if averaged else None,
        best=training.get("best"),
    )
    return jax.tree.map(lambda array, old: jax.device_put(array, old.sharding), state, like)


def _restore_items(
    folder: Path, manifest: Mapping[str, Any], like: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns items of a verified checkpoint as NumPy arrays.

    Raises:
        UserError: The checkpoint's arrays have other names, shapes or dtypes.
    """
    there = {
        name: array for name, array in manifest["arrays"].items() if name.partition("/")[0] in like
    }
    _check_arrays(folder, there, _describe(like))
    wanted = {
        name: ocp.args.StandardRestore(  # pyright: ignore[reportCallIssue]
            jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), item)
        )
        for name, item in like.items()
    }
    with _checkpointer() as checkpointer:
        restored: Any = checkpointer.restore(folder, args=ocp.args.Composite(**wanted))
    return {name: restored[name] for name in like}


def _check_arrays(folder: Path, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    different = [
        f"{name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise UserError(
            f"{folder} is of another network or optimizer: {'; '.join(different[:3])}{more}. "
            "Use the settings of that run, or train in another folder"
        )


def restore_best(
    workdir: str | Path, like: Variables, settings: Mapping[str, Any] | None = None
) -> tuple[Variables, int]:
    """Returns the variables of the best epoch that is there, and its number.

    Args:
        workdir: Folder of the run.
        like: Variables (or their shapes and dtypes) of the run's network.
        settings: The network and image size of config.json; not every error in them changes a
            shape.

    Raises:
        UserError: The run has no finished epoch; the best one is damaged or of other settings.
    """
    folder = Path(workdir).absolute() / "checkpoints"
    if not folder.is_dir():
        raise UserError(f"{workdir} holds no checkpoints; train it first", argument="workdir")
    finished = [p for p in _positions(folder) if not p.steps and p.epochs]
    if not finished:
        raise UserError(f"{folder} holds no finished epoch; train one first", argument="workdir")
    scores = dict(enumerate(_longest_history(folder).scores(), start=1))
    if scores and (unknown := [folder / str(p) for p in finished if p.epochs not in scores]):
        raise UserError(
            f"{unknown[0]} is damaged, so which epoch is best is not known; copy it back from "
            "elsewhere, or remove that folder to use the best of the other epochs"
        )
    best = max(finished, key=lambda p: scores.get(p.epochs, -np.inf))
    if scores and not np.isfinite(scores.get(best.epochs, -np.inf)):
        raise UserError(
            f"{workdir} has no usable epoch: its validation loss is not finite in any; train again "
            "in another folder with a lower learning rate",
            argument="workdir",
        )
    try:
        manifest = _verified_manifest(folder / str(best))
    except _DamagedError as error:
        raise UserError(_best_is_damaged(folder, best, finished, error)) from error
    saved = manifest["settings"]
    if settings and saved and (different := different_settings(saved, settings)):
        raise UserError(
            f"{Path(workdir) / 'config.json'} is not that of this run's checkpoints (there) any "
            f"more: {'; '.join(different)}. Restore it"
        )
    restored = _restore_items(folder / str(best), manifest, {"evaluated": like})["evaluated"]
    return jax.tree.map(jnp.asarray, restored), best.epochs


def _longest_history(folder: Path) -> History:
    """Returns the longest history in the checkpoints of a folder; empty where none is readable."""
    for position in reversed(_positions(folder)):
        with contextlib.suppress(_DamagedError):
            return History(tuple(_read_manifest(folder / str(position))["history"]))
    return History()


def _best_is_damaged(
    folder: Path, best: Position, finished: list[Position], error: Exception
) -> str:
    others = ", ".join(str(position) for position in finished if position != best)
    use = f"remove that folder to use the best of the epochs {others}" if others else ""
    ways = ["copy it back from elsewhere", use, "train again in another folder"]
    return (
        f"{folder / str(best)}, the best epoch, is damaged ({error}); "
        f"{', or '.join(filter(None, ways))}"
    )


def _positions(folder: Path) -> list[Position]:
    """Returns the positions of the checkpoints in a folder, the earliest first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(position for name in names if (position := Position.parse(name)))


def _items(state: TrainState) -> dict[str, Any]:
    """Returns the variables to predict with, and the rest of `state`."""
    training: dict[str, Any] = {"step": state.step, "opt_state": state.opt_state}
    if state.average is not None:
        training["variables"] = state.variables
    if state.best is not None:
        training["best"] = state.best
    return {"evaluated": state.evaluated, "training": training}


def _describe(items: Mapping[str, Any]) -> dict[str, str]:
    """Returns dtype and shape of each array under its path, as ``float32[3,3,1,64]``."""
    leaves = jax.tree_util.tree_leaves_with_path(dict(items))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        )
        for path, leaf in leaves
    }
