"""Checkpoints of a run: Orbax' `CheckpointManager` in `workdir/checkpoints`.

A checkpoint is named by the number of steps done, skipped ones included. It holds three items:
`evaluated` (the parameters and batch norm statistics to predict with), `training` (all else that
the next step starts from) and `run` (JSON: the history, the unfinished epoch, the settings, the
shapes of all arrays). Orbax writes it in the background to a temporary folder, renames that when it
is complete, and removes old ones. It restores a flipped bit without an error, so `SHA256SUMS` has
the checksum of every file, in the format of `sha256sum`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.files import make_folder, reason_of, require_space
from jaxcxr.runs.workdir import different_settings
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.history import History, Mode, UnfinishedEpoch
from jaxcxr.training.state import TrainState, Variables

FORMAT = 2
"""Version of the layout of a checkpoint."""

KEEP_LATEST = 2

_SPACE_BESIDE_ARRAYS = 1024**2
"""Bytes on the disk that a checkpoint takes beside its arrays', at most: half-filled blocks."""

_TEMPORARY, _DELETED, _CHECKSUMS = ".orbax-checkpoint-tmp", ".deleted", "SHA256SUMS"


@dataclasses.dataclass
class _LatestAndBest:
    """Orbax' preservation policy: the latest checkpoints, and that of the best epoch."""

    latest: int
    best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        return [step == self.best or step in steps[-self.latest :] for step in steps]


class _Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
        """Returns False: JAX counts the calls, of which `StopOnSignals` makes one per step."""
        return False


class Checkpoints:
    """The checkpoints of a run, open to be written; only the holder of the run's lock may.

    The state of a training is the same in every process, so the first one writes it.

    Args:
        workdir: Folder of the run; made where missing.
        keep: How many of the latest to keep.
        keep_best: Whether to keep the best epoch as well.
        monitor: Name of the value in the history that decides which epoch is best.
        mode: Of `monitor`; see `Mode`.

    Raises:
        UserError: The folder cannot be made.
    """

    def __init__(
        self,
        workdir: str | Path,
        keep: int = KEEP_LATEST,
        keep_best: bool = True,
        monitor: str = "val_loss",
        mode: Mode = "auto",
    ) -> None:
        self.folder = Path(workdir).absolute() / "checkpoints"
        self._keep_best = keep_best
        self._decides: tuple[str, Mode] = (monitor, mode)
        self._policy = _LatestAndBest(keep)
        self._pending = self.folder
        self._manager = self._open() if is_primary_process() else None

    def _open(self) -> ocp.CheckpointManager:
        make_folder(self.folder)
        for leftover in (*self.folder.glob(f"*{_TEMPORARY}*"), self.folder / _DELETED):
            shutil.rmtree(leftover, ignore_errors=True)  # of a killed process
        for name in ("absl", "asyncio"):
            logging.getLogger(name).addFilter(_is_not_orbax)
        options = ocp.CheckpointManagerOptions(
            create=False,
            save_root_metadata=False,
            preservation_policy=self._policy,
            todelete_subdir=_DELETED,  # by a rename, so that none is ever half there
            multiprocessing_options=_this_process_alone(),
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_checksums),
        )
        return _Manager(self.folder, options=options)

    def _write_checksums(self) -> None:
        """Called by Orbax when all files are written, before the folder is renamed."""
        (folder,) = self.folder.glob(f"{self._pending.name}{_TEMPORARY}*")
        files = sorted(path for path in folder.rglob("*/*") if path.is_file())
        lines = [f"{_sha256(path)}  {path.relative_to(folder)}\n" for path in files]
        (folder / _CHECKSUMS).write_text("".join(lines))

    def _wait(self, manager: ocp.CheckpointManager) -> None:
        with _one_line(self._pending):
            manager.wait_until_finished()
        shutil.rmtree(self.folder / _DELETED, ignore_errors=True)

    def close(self) -> None:
        """Waits until everything is written.

        Raises:
            UserError: It cannot be.
        """
        if self._manager is not None:
            self._wait(self._manager)
            self._manager.close()

    def save(self, progress: Progress, *, model_only: bool = False) -> None:
        """Saves a training; the files are written in the background.

        Args:
            progress: The state of the training.
            model_only: Whether to save only the variables to predict with.

        Raises:
            UserError: This checkpoint, or the one before, cannot be written.
        """
        if self._manager is None:
            return
        state, history, unfinished = progress.state, progress.history, progress.unfinished
        items = {"evaluated": state.evaluated} if model_only else _items(state)
        items = jax.tree.map(np.array, items)  # copies: the next step reuses the memory
        run = {
            "format": FORMAT,
            "jaxcxr": importlib.metadata.version("jaxcxr"),
            "history": list(history.epochs),
            "unfinished": dataclasses.asdict(unfinished),
            "settings": dict(progress.settings),
            "decides": self._decides,
            "arrays": _describe(items),
        }
        saved: Any = {name: ocp.args.StandardSave(item) for name, item in items.items()}  # pyright: ignore[reportCallIssue]
        saved["run"] = ocp.args.JsonSave(run)  # pyright: ignore[reportCallIssue]
        skipped = sum(int(record.get("skipped_steps", 0)) for record in history.epochs)
        step = int(state.step) + skipped + unfinished.skipped
        best = history.best_epoch(*self._decides) if self._keep_best else None
        if best is not None:
            self._policy.best = (step - unfinished.steps) // len(history) * best
        self._wait(self._manager)
        self._pending = self.folder / str(step)
        with _one_line(self._pending):
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
            require_space(self.folder, size + _SPACE_BESIDE_ARRAYS)
            for later in self._manager.all_steps():  # damaged, or not yet validated
                if later >= step:
                    self._manager.delete(later)
            self._manager.save(step, args=ocp.args.Composite(**saved), force=True)

    def restore_latest(self, progress: Progress) -> Progress | None:
        """Returns the training of the latest undamaged checkpoint, None where there is none at all.

        A damaged one is named in one line, and the one before it is used.

        Args:
            progress: A training of the same settings, network and optimizer; the shapes, dtypes and
                devices of its state are those of the result.

        Raises:
            UserError: Every checkpoint is damaged; the latest is of another run or version.
        """
        damaged: list[str] = []
        for step in reversed(saved_steps(self.folder)):
            path = self.folder / str(step)
            try:
                run = _read_run(path, progress.settings)
                items = _read_arrays(path, run, _items(progress.state))
            except _DamagedError as error:
                damaged.append(str(error))
                continue
            for problem in damaged:
                tqdm.write(f"{problem}; {step} before it is used instead")
            return dataclasses.replace(
                progress,
                state=_state(items, progress.state),
                history=History(tuple(run["history"])),
                unfinished=UnfinishedEpoch(**run["unfinished"]),
            )
        if damaged:
            raise UserError(
                f"{'; '.join(damaged)}; none is usable. Copy them back from elsewhere, or remove "
                f"{self.folder} to train from the start"
            )
        return None


def saved_steps(folder: Path) -> list[int]:
    """Returns the steps of all checkpoints in a folder, damaged ones included, in order."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


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
    if not (steps := saved_steps(folder)):
        raise UserError(f"{workdir} has no checkpoints; train it first")
    try:
        best = _best_step({step: _read_run(folder / str(step)) for step in steps})
        if best is None:
            raise UserError(
                f"{workdir} has no finished epoch with a finite value to choose the best by; "
                "finish its training, or train again in a new folder with a lower learning rate"
            )
        run = _read_run(folder / str(best), settings)
        variables = _read_arrays(folder / str(best), run, {"evaluated": like})["evaluated"]
    except _DamagedError as error:
        raise UserError(
            f"{error}, and may be the best epoch; copy it back from elsewhere, or remove that "
            "folder to use the best of the other epochs"
        ) from error
    return jax.tree.map(jnp.asarray, variables), len(run["history"])


def _best_step(runs: Mapping[int, Mapping[str, Any]]) -> int | None:
    """Returns the checkpoint of the best epoch, None where no epoch is finished and finite."""
    latest = runs[max(runs)]
    scores = History(tuple(latest["history"])).scores(*latest["decides"])
    scored = {
        step: scores[len(run["history"]) - 1]
        for step, run in runs.items()
        if run["history"] and not run["unfinished"]["losses"]
    }
    best = max(scored, key=lambda step: scored[step], default=None)
    return best if best is not None and np.isfinite(scored[best]) else None


class _DamagedError(Exception):
    """A checkpoint differs from what was written."""


def _read_run(path: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the item `run` of a checkpoint; refuses other versions and settings."""
    run = _read(path, run=ocp.args.JsonRestore())["run"]  # pyright: ignore[reportCallIssue]
    if run["format"] != FORMAT:
        raise UserError(
            f"{path} has format {run['format']}, written by jaxcxr {run['jaxcxr']}; expected "
            f"{FORMAT}. Use that version for this run, or train in another folder"
        )
    different = different_settings(run["settings"], settings or run["settings"])
    if run["settings"] and different:
        raise UserError(
            f"{path} is of a run with other settings: {'; '.join(different)}. Name a new folder, "
            "use the settings of that run, or restore its config.json",
            argument="workdir",
        )
    run["unfinished"]["losses"] = tuple(run["unfinished"]["losses"])
    return run


def _read_arrays(path: Path, run: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the items `like` of a checkpoint as NumPy arrays; refuses other shapes and dtypes."""
    here = _describe(like)
    there = {name: text for name, text in run["arrays"].items() if name.partition("/")[0] in like}
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise UserError(
                f"{path} is of another network or optimizer: {name} is "
                f"{there.get(name, 'missing')} there and {here.get(name, 'missing')} here. Use the "
                "settings of that run, or train in another folder"
            )
    empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), dict(like))
    return _read(path, **{n: ocp.args.StandardRestore(item) for n, item in empty.items()})  # pyright: ignore[reportCallIssue]


def _read(path: Path, **items: Any) -> dict[str, Any]:
    """Returns items of a checkpoint, once their files have their checksums."""
    try:
        lines = (path / _CHECKSUMS).read_text().splitlines()
        checksums = {name: checksum for checksum, name in (line.split("  ", 1) for line in lines)}
        names = [name for name in checksums if name.partition("/")[0] in items]
        if {name.partition("/")[0] for name in names} != items.keys():
            raise _DamagedError(f"{path} is damaged ({_CHECKSUMS} is cut off)")
        for name in names:
            if _sha256(path / name) != checksums[name]:
                raise _DamagedError(f"{path} is damaged ({name} does not have its checksum)")
        handler = ocp.CompositeCheckpointHandler(
            composite_options=ocp.CompositeOptions(multiprocessing_options=_this_process_alone())
        )
        with ocp.Checkpointer(handler, multiprocessing_options=_this_process_alone()) as reader:
            restored: Any = reader.restore(path, args=ocp.args.Composite(**items))
        return {name: restored[name] for name in items}
    except (OSError, ValueError, KeyError, TypeError) as error:  # of Orbax' metadata, among others
        raise _DamagedError(f"{path} is damaged ({reason_of(error)})") from error


def _items(state: TrainState) -> dict[str, Any]:
    """Returns the variables to predict with, and the rest of `state`."""
    if state.average is None:
        return {
            "evaluated": state.variables,
            "training": state.replace(params=None, batch_stats=None),
        }
    return {"evaluated": state.average, "training": state.replace(average=None)}


def _state(items: Mapping[str, Any], like: TrainState) -> TrainState:
    """Returns the state with these items; the inverse of `_items`."""
    evaluated = items["evaluated"]
    missing = evaluated if like.average is None else {"average": evaluated}
    state = items["training"].replace(**missing)
    return jax.tree.map(lambda array, old: jax.device_put(array, old.sharding), state, like)


def _describe(items: Mapping[str, Any]) -> dict[str, str]:
    """Returns dtype and shape of each array under its path, as ``float32[3,3,1,64]``."""
    leaves = jax.tree_util.tree_leaves_with_path(dict(items))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        )
        for path, leaf in leaves
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _this_process_alone() -> ocp.options.MultiprocessingOptions:
    """Returns options with which Orbax waits for no other process."""
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})


def _is_not_orbax(record: logging.LogRecord) -> bool:
    text = record.pathname + record.getMessage()
    return "orbax" not in text and "tensorstore" not in text


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Makes a UserError of what Orbax raises where `path` cannot be written."""
    try:
        yield
    except (OSError, ValueError) as error:  # TensorStore reports a full disk as a ValueError
        raise UserError(
            f"{path} cannot be written: {reason_of(error)}; fix that (free space, permission, "
            "the folder) and start the run again, which resumes after the checkpoint before"
        ) from error
