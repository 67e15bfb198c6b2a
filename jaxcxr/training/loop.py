"""The training loop: epochs, their steps, validation, and the callbacks in between."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack

import jax
import jax.numpy as jnp
from tqdm import tqdm

from jaxcxr.training.callbacks import Callback, Logs, Progress
from jaxcxr.training.feeding import Feed
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.nonfinite import StepLosses
from jaxcxr.training.optimizers import Optimizer, learning_rate
from jaxcxr.training.state import TrainState
from jaxcxr.training.validation import Validation


@dataclasses.dataclass(frozen=True)
class Training:
    """What stays the same from step to step.

    Attributes:
        feed: Where the steps come from.
        validation: Of each epoch; None for none.
        optimizer: See `Optimizer`.
        batch_size: Of the global batch.
        steps_per_epoch: Number of steps of an epoch.
        epochs: Greatest number of epochs.
        patience: Steps in a row that may be skipped.
        callbacks: The callbacks.
        verbose: Whether to show a progress bar.
    """

    feed: Feed
    validation: Validation | None
    optimizer: Optimizer
    batch_size: int
    steps_per_epoch: int
    epochs: int
    patience: int
    callbacks: tuple[Callback, ...]
    verbose: bool

    def notify(self, progress: Progress, hook: Callable[[Callback], object]) -> None:
        """Calls a hook of every callback."""
        for callback in self.callbacks:
            callback.set_progress(progress)
            hook(callback)

    def interruption(self) -> str | None:
        """Returns why the training has to stop; None to continue."""
        reasons = [callback.interruption() for callback in self.callbacks]  # all are called
        return next((reason for reason in reasons if reason is not None), None)

    def is_done(self, history: History) -> bool:
        """Returns whether no epoch follows."""
        stopped = len(history) > 0 and any(c.should_stop(history) for c in self.callbacks)
        return stopped or len(history) >= self.epochs

    def pauses_after(self, step: int) -> bool:
        """Returns whether a callback asks for a pause after a step of an epoch."""
        wishes = [callback.pauses_after(step) for callback in self.callbacks]  # all are called
        return any(wishes)


def train(training: Training, progress: Progress) -> tuple[Progress, str | None]:
    """Trains to the end or to an interruption; returns where it ended, and the reason if any."""
    interrupted = None
    with ExitStack() as stack:
        for callback in reversed(training.callbacks):
            stack.callback(callback.on_train_end)
        for callback in training.callbacks:
            progress = callback.restore(progress)
        training.notify(progress, lambda c: c.on_train_begin())
        while interrupted is None and not training.is_done(progress.history):
            epoch = len(progress.history) + 1
            training.notify(progress, lambda c, epoch=epoch: c.on_epoch_begin(epoch))
            progress, interrupted = _train_epoch(training, progress)
            if interrupted is None:
                progress, interrupted = _end_epoch(training, progress)
        if progress.unfinished.steps:
            training.notify(progress, lambda c: c.on_pause())
    return progress, interrupted


def _train_epoch(training: Training, progress: Progress) -> tuple[Progress, str | None]:
    """Does the steps that an epoch still needs, or some of them and the reason to stop."""
    state, before = progress.state, progress.unfinished
    epoch = len(progress.history) + 1

    def on_read(step: int, loss: float) -> None:
        for callback in training.callbacks:
            callback.on_train_batch_end(step, {"loss": loss})

    losses = StepLosses(before, epoch, training.patience, on_read)
    began = time.perf_counter() - before.seconds
    interrupted = training.interruption()

    def place() -> Progress:
        losses.read()
        seconds = time.perf_counter() - began
        unfinished = UnfinishedEpoch(tuple(losses.losses), before.skipped_before, seconds)
        return dataclasses.replace(progress, state=state, unfinished=unfinished)

    with _bar(training, epoch, before.steps) as bar:
        batches = training.feed.batches(epoch, before.steps)
        for step, (on_devices, batch) in enumerate(batches, before.steps + 1):
            if interrupted is not None:
                break
            pauses = training.pauses_after(step)
            state, loss = training.feed.step(state, on_devices)
            losses.add(loss, batch)
            bar.update()
            interrupted = training.interruption()
            if interrupted is None and pauses:
                training.notify(place(), lambda c: c.on_pause())
    return place(), interrupted


def _bar(training: Training, epoch: int, done: int) -> tqdm:
    """Returns the progress bar of an epoch."""
    return tqdm(
        desc=f"epoch {epoch:>2}/{training.epochs}",
        initial=done,
        total=training.steps_per_epoch,
        unit="step",
        leave=False,
        disable=None if training.verbose else True,  # None: only where there is no terminal
    )


def _end_epoch(training: Training, progress: Progress) -> tuple[Progress, str | None]:
    """Validates and records an epoch whose steps are done; interrupted, it stays unfinished."""
    steps, epoch = progress.unfinished, len(progress.history) + 1
    began = time.perf_counter()
    record: dict[str, float] = {"epoch": epoch, "loss": steps.mean_loss}
    if training.validation is not None:
        evaluated = progress.state.evaluated
        scores, interrupted = training.validation(evaluated, training.interruption)
        if interrupted is not None:
            return progress, interrupted
        record |= scores
    rate = learning_rate(
        training.optimizer,
        progress.state.opt_state,
        (epoch - 1) * training.steps_per_epoch,
        training.steps_per_epoch,
        training.epochs,
    )
    record |= {} if rate is None else {"learning_rate": rate}
    record |= {
        "skipped_steps": steps.skipped,
        "seconds": steps.seconds + time.perf_counter() - began,
        "images_per_second": training.steps_per_epoch * training.batch_size / steps.seconds,
    }
    progress = dataclasses.replace(
        progress,
        state=_with_best(training, progress.state, progress.history.with_epoch(record)),
        history=progress.history.with_epoch(record),
        unfinished=UnfinishedEpoch(skipped_before=steps.skipped_in_a_row),
    )
    logs: Logs = progress.history.epochs[-1]
    training.notify(progress, lambda c: c.on_epoch_end(epoch, logs))
    return progress, None


def _with_best(training: Training, state: TrainState, history: History) -> TrainState:
    """Returns the state with its variables kept as the best, where a callback asks for it."""
    if state.best is None or not any(c.keeps_weights(history) for c in training.callbacks):
        return state
    return state.replace(best=jax.tree.map(jnp.copy, state.evaluated))
