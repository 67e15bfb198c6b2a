"""Callbacks of `fit` that save a training, resume it, and stop it on signals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.files import require_no_brackets
from jaxcxr.runs.checkpoints import KEEP_LATEST, Checkpoints, saved_steps
from jaxcxr.runs.lock import Lock, acquire
from jaxcxr.runs.signals import SignalWatch
from jaxcxr.runs.workdir import claim_workdir
from jaxcxr.training.callbacks import Callback, Logs, Progress
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.history import Mode, check_mode

_ALL = 2**31


class _RunFolder(Callback):
    """Keeps checkpoints in the folder of a run, which no other run may use meanwhile."""

    def __init__(self, workdir: str | Path, **settings: Any) -> None:
        require_no_brackets(workdir)
        self.workdir = Path(workdir).expanduser()
        self._settings = settings  # of `Checkpoints`
        self._checkpoints: Checkpoints | None = None
        self._lock: Lock | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for the block, which may train in it.

        Raises:
            UserError: Another run has the folder, or it cannot be written to.
        """
        if self._lock is None and is_primary_process():
            self._lock = acquire(self.workdir)
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _open(self, settings: Mapping[str, Any]) -> Checkpoints:
        if is_primary_process():
            self._lock = self._lock or acquire(self.workdir)
            claim_workdir(self.workdir, settings)
        self._checkpoints = Checkpoints(self.workdir, **self._settings)
        return self._checkpoints

    def _save(self, *, model_only: bool = False) -> None:
        assert self._checkpoints is not None, "the folder is opened before the first epoch"
        if self._lock is not None:
            self._lock.check()
        self._checkpoints.save(self.progress, model_only=model_only)

    def on_train_end(self) -> None:
        """Waits until everything is on disk.

        Raises:
            UserError: The last checkpoint cannot be written.
        """
        opened, self._checkpoints = self._checkpoints, None
        try:
            if opened is not None:
                opened.close()
        finally:
            self._release()


class BackupAndRestore(_RunFolder):
    """Saves the training under `workdir` and resumes it when `fit` is called again.

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

    def __init__(self, workdir: str | Path, every: int = 0, keep: int = KEEP_LATEST) -> None:
        if every < 0:
            raise UserError(f"checkpoint_every is {every}; it must be 0 (epochs alone) or more")
        if keep < 1:
            raise UserError(f"keep_checkpoints is {keep}; it must be 1 or more")
        super().__init__(workdir, keep=keep)
        self.every = every
        self._saved: tuple[int, int] | None = None

    def restore(self, progress: Progress) -> Progress:
        """Returns the latest complete checkpoint, or `progress` where there is none.

        Raises:
            UserError: The folder is in use, or of another run; all its checkpoints are damaged.
        """
        restored = self._open(progress.settings).restore_latest(progress)
        self._saved = restored and _position(restored)
        if restored is not None and is_primary_process():
            tqdm.write(f"{self.workdir}: {_words(restored)}")
        return restored or progress

    def pauses_after(self, step: int) -> bool:
        """Pauses where a checkpoint is due."""
        return self.every > 0 and step % self.every == 0

    def on_pause(self) -> None:
        """Saves the place within the epoch.

        Raises:
            UserError: This checkpoint or the one before cannot be written; the folder is gone.
        """
        if self._saved != _position(self.progress):
            self._save()
            self._saved = _position(self.progress)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Saves the epoch.

        Raises:
            UserError: This checkpoint or the one before cannot be written; the folder is gone.
        """
        self.on_pause()


class ModelCheckpoint(_RunFolder):
    """Saves the network after each epoch, or after the best one; it does not resume a training.

    `Predictor.from_run(path)` reads the best epoch there. `BackupAndRestore` resumes.

    Args:
        path: Folder to write to; made where missing. Not that of `BackupAndRestore`.
        save_best_only: Keep the best epoch alone.
        monitor: Name of the value in the history that decides.
        mode: "min" where lower is better, "max" where greater is; "auto": "max" for an AUC.

    Raises:
        UserError: There is a bracket in the path, or `mode` is none of these.
    """

    def __init__(
        self,
        path: str | Path,
        save_best_only: bool = False,
        monitor: str = "val_loss",
        mode: Mode = "auto",
    ) -> None:
        check_mode(mode)
        super().__init__(
            path,
            keep=1 if save_best_only else _ALL,
            keep_best=not save_best_only,
            monitor=monitor,
            mode=mode,
        )
        self.save_best_only = save_best_only
        self.monitor = monitor
        self.mode: Mode = mode

    def on_train_begin(self) -> None:
        """Opens the folder.

        Raises:
            UserError: It is in use, or holds an earlier run and this one was not resumed.
        """
        opened = self._open(self.progress.settings)
        if saved_steps(opened.folder) and not len(self.progress.history):
            raise UserError(
                f"{self.workdir} holds an earlier run, and ModelCheckpoint does not resume; name "
                "another folder, or use BackupAndRestore to resume"
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Saves the epoch, if it is to be kept.

        Raises:
            UserError: This checkpoint or the one before cannot be written; the folder is gone.
        """
        best = self.progress.history.best_epoch(self.monitor, self.mode)
        if not self.save_best_only or best == epoch:
            self._save(model_only=True)


class StopOnSignals(Callback):
    """Interrupts the training after the step under way when SIGTERM or SIGINT (Ctrl-C) comes.

    `BackupAndRestore` saves what was done. A second signal ends the process at once. Several
    processes that train together stop at the same step, after a SIGTERM to any of them; there,
    SIGINT keeps its usual effect.
    """

    def __init__(self) -> None:
        self._watch = SignalWatch()
        self._asked = 0
        self._agreed = False

    def on_train_begin(self) -> None:
        """Installs the signal handlers."""
        if jax.process_count() == 1:
            self._watch.start()

    def interruption(self) -> str | None:
        """Returns the name of the signal received."""
        if jax.process_count() == 1:
            return self._watch.received
        self._asked += 1  # every process calls equally often, so they agree when to stop
        if multihost_utils.reached_preemption_sync_point(self._asked):
            self._agreed = True
        return "SIGTERM" if self._agreed else None

    def on_train_end(self) -> None:
        """Restores the earlier signal handlers."""
        self._watch.stop()


def _position(progress: Progress) -> tuple[int, int]:
    """Returns the number of epochs done, and of steps of the next one."""
    return len(progress.history), progress.unfinished.steps


def _words(restored: Progress) -> str:
    (done, steps), epochs = _position(restored), restored.epochs
    if steps:
        return f"{done} of {epochs} epochs and {steps} steps of the next are done; resuming"
    more = "resuming" if done < epochs else "raise epochs for more"
    return f"{done} of {epochs} epochs are done; {more}"
