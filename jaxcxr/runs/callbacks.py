"""Callbacks of `fit` that keep a run's folder: checkpoints, and an orderly end on signals."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental import multihost_utils
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.files import require_no_brackets
from jaxcxr.runs import checkpoints
from jaxcxr.runs.lock import Lock, acquire
from jaxcxr.runs.signals import SignalWatch
from jaxcxr.runs.workdir import claim_workdir, different_settings
from jaxcxr.training.callbacks import Callback, Progress
from jaxcxr.training.distributed import is_primary_process


class ModelCheckpoint(Callback):
    """Saves the training under `workdir` and goes on from there when it is called again.

    Each epoch is saved, and the place within an epoch where the training is interrupted. The best
    epoch (lowest validation loss) and the latest checkpoints are kept. `config.json` beside them
    lets `Predictor.from_run(workdir)` rebuild the network. While it trains no other run may use the
    folder.

    Args:
        workdir: Folder of the run; made where missing.
        every: Save every so many steps within an epoch, too; 0 for its end alone.
        keep: How many of the latest checkpoints to keep.

    Raises:
        UserError: `every` is below 0, or `keep` below 1; there is a bracket in the path.
    """

    def __init__(
        self, workdir: str | Path, every: int = 0, keep: int = checkpoints.KEEP_LATEST
    ) -> None:
        if every < 0:
            raise UserError(f"checkpoint_every is {every}; it must be 0 (epochs alone) or more")
        if keep < 1:
            raise UserError(f"keep_checkpoints is {keep}; it must be 1 or more")
        require_no_brackets(workdir)
        self.workdir = Path(workdir).expanduser()
        self.every = every
        self.keep = keep
        self._checkpoints: checkpoints.Checkpoints | None = None
        self._lock: Lock | None = None
        self._saved: checkpoints.Position | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for the block, which may train in it; errors as in `on_train_begin`."""
        self._acquire()
        try:
            yield
        finally:
            self._release()

    def _acquire(self) -> None:
        if self._lock is None and is_primary_process():
            self._lock = acquire(self.workdir)

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def on_train_begin(self, progress: Progress) -> Progress:
        """Takes up the latest whole checkpoint.

        Raises:
            UserError: The folder is in use, or of another run; no checkpoint in it is whole.
        """
        opened = checkpoints.open_checkpoints(self.workdir, self.keep)
        self._acquire()
        if is_primary_process():
            claim_workdir(self.workdir, progress.settings)
            checkpoints.remove_remains(opened)
        self._checkpoints = opened
        restored = checkpoints.restore_latest(opened, progress.state)
        if restored is None:
            return progress
        if different := different_settings(restored.settings, progress.settings):
            raise UserError(
                f"{opened.folder} holds checkpoints of another run: {'; '.join(different)}. "
                "Name a new --workdir, or the settings of that run to go on with it"
            )
        self._saved = checkpoints.Position(len(restored.history), restored.unfinished.steps)
        if is_primary_process():
            tqdm.write(f"{self.workdir}: {_words(restored, progress.epochs)}")
        return dataclasses.replace(
            progress,
            state=restored.state,
            history=restored.history,
            unfinished=restored.unfinished,
        )

    def pauses_after(self, step: int) -> bool:
        """Pauses where it is to save."""
        return self.every > 0 and step % self.every == 0

    def on_pause(self, progress: Progress) -> None:
        """Saves the place within the epoch; errors as in `on_epoch_end`."""
        self._save(progress)

    def on_epoch_end(self, progress: Progress) -> None:
        """Saves the epoch.

        Raises:
            UserError: This checkpoint or the one before cannot be written; the folder is gone.
        """
        self._save(progress)

    def _save(self, progress: Progress) -> None:
        assert self._checkpoints is not None, "fit calls on_train_begin first"
        position = checkpoints.Position(len(progress.history), progress.unfinished.steps)
        if position == self._saved:
            return
        if self._lock is not None:
            self._lock.check()
        checkpoints.save(
            self._checkpoints,
            progress.state,
            progress.history,
            progress.unfinished,
            progress.settings,
        )
        self._saved = position

    def on_train_end(self) -> None:
        """Waits until everything is on disk; errors as in `on_epoch_end`."""
        try:
            if self._checkpoints is not None:
                self._checkpoints.close()
        finally:
            self._release()
            self._checkpoints = self._saved = None


class StopOnSignals(Callback):
    """Leaves the training after the step under way when SIGTERM or SIGINT (Ctrl-C) comes.

    What was done is saved by `ModelCheckpoint`. A second signal ends the process at once. Several
    processes that train together stop at the same step, after a SIGTERM to any of them; there,
    SIGINT is left alone.
    """

    def __init__(self) -> None:
        self._watch = SignalWatch()
        self._asked = 0
        self._agreed = False

    def on_train_begin(self, progress: Progress) -> Progress:
        """Takes the signals over."""
        if jax.process_count() == 1:
            self._watch.start()
        return progress

    def interruption(self) -> str | None:
        """Returns the name of the signal that came."""
        if jax.process_count() == 1:
            return self._watch.received
        self._asked += 1  # the processes ask equally often, so they agree when to stop
        if multihost_utils.reached_preemption_sync_point(self._asked):
            self._agreed = True
        return "SIGTERM" if self._agreed else None

    def on_train_end(self) -> None:
        """Gives the signals back."""
        self._watch.stop()


def _words(restored: checkpoints.Restored, epochs: int) -> str:
    """Returns where a restored training stands, for the terminal."""
    done, steps = len(restored.history), restored.unfinished.steps
    if steps:
        return f"{done} of {epochs} epochs and {steps} steps of the next are done; going on"
    more = "going on" if done < epochs else "raise epochs for more"
    return f"{done} of {epochs} epochs are done; {more}"
