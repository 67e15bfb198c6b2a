"""`fit`: the training loop, with Keras' arguments."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, classifier_config
from jaxcxr.models.ops.normalization import in_part
from jaxcxr.training import feeding
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.callbacks import Callback, Progress, ProgressLine
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.feeding import (
    PLACEMENTS,
    DataSource,
    Feed,
    Placement,
    Resident,
    Streamed,
    in_memory,
    put_on_devices,
)
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.losses import weighted_cross_entropy
from jaxcxr.training.nonfinite import (
    StepLosses,
    describe_step,
    first_not_finite,
    make_finiteness_check,
)
from jaxcxr.training.objective import COMPUTE_DTYPES, ComputeDtype
from jaxcxr.training.optimizers import Adam
from jaxcxr.training.state import Variables, create_state, initial_variables
from jaxcxr.training.steps import (
    Loss,
    device_mesh,
    make_loss_step,
    make_resident_steps,
    make_train_step,
    shard_batch,
)

_LARGEST = 2**31 - 1
"""Steps and epochs are counted in 32 bits on the devices."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished training, or one that was interrupted.

    Attributes:
        model: The network.
        variables: Its variables after the last step (their moving average where one is kept).
        history: Losses and rates per epoch; `run.history["val_loss"]` is a list to plot.
        interrupted: Why the training was left before its end ("SIGTERM"); None where it was not.
        unfinished: The epoch in which it was left.
    """

    model: Classifier
    variables: Variables
    history: History
    interrupted: str | None = None
    unfinished: UnfinishedEpoch = UnfinishedEpoch()  # noqa: RUF009, frozen


def fit(
    model: Classifier,
    train_data: DataSource,
    *,
    validation_data: DataSource | None = None,
    epochs: int = 30,
    batch_size: int = 128,
    optimizer: Adam | None = None,
    loss: Loss = weighted_cross_entropy,
    initial_weights: Variables | str | Path | None = None,
    frozen: Sequence[str] | str = (),
    augmentation: Augmentation | None = None,
    ema_decay: float = 0.0,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    devices: Sequence[Any] | None = None,
    placement: Placement = "streamed",
    steps_per_dispatch: int = 16,
    compute_dtype: ComputeDtype = "float32",
    nonfinite_patience: int = 10,
    debug_nonfinite: bool = False,
    verbose: bool = True,
) -> Run:
    """Trains a classifier on image-level labels.

    Args:
        model: The network.
        train_data: The training split.
        validation_data: The split whose loss decides about the best epoch and early stopping.
        epochs: Most epochs.
        batch_size: Images per step, over all devices.
        optimizer: `Adam()` where not given.
        loss: Function of `losses`.
        initial_weights: Variables to start from; or "imagenet", a file of PyTorch's or a folder of
            launch/convert_weights.py, for the parts that they hold (see
            `jaxcxr.models.weights.pretrained.initialize`); None for random ones. What they leave is
            drawn from `seed`.
        frozen: Parts whose parameters and batch norm statistics keep their values, for example
            ("backbone",) or ("backbone/stage1", "backbone/stage2").
        augmentation: Random changes of the training images; none where not given.
        ema_decay: Keep an exponential moving average of the weights with this decay (0.999, say)
            and validate, save and predict with it; 0 keeps none.
        seed: Of the initial weights, the order of the images and their augmentation. The same seed
            and number of devices give the same bits.
        callbacks: For example `EarlyStopping()`, `ModelCheckpoint(workdir)`.
        devices: The devices to use; all where not given.
        placement: Where the radiographs are: "streamed" from where they come; in "host" memory,
            read once; the training split on each "device", gathered, augmented and normalized
            within the step (7.4 GB for 112,120 of 256×256). The batches are the same, bit for bit.
        steps_per_dispatch: Most steps that GPUs which hold the radiographs do in one go. Signals,
            and the progress bar, wait for them.
        compute_dtype: "bfloat16" makes the network's layers compute in it; parameters, batch norm
            statistics, loss, gradients and updates stay float32, and so does validation.
        nonfinite_patience: A step whose loss or gradients are not finite changes nothing and is
            counted in the history; after so many in a row the training is broken off.
        debug_nonfinite: Break off at the first such step and name the layer. The host then waits
            for each step.
        verbose: Whether to show a progress bar and a line per epoch.

    Raises:
        UserError: A split that is empty or smaller than a batch, a batch that does not divide over
            the devices, a workdir of another run, numbers that are not finite.
    """
    optimizer = Adam() if optimizer is None else optimizer
    frozen = (frozen,) if isinstance(frozen, str) else tuple(frozen)
    check_settings(
        batch_size=batch_size,
        epochs=epochs,
        nonfinite_patience=nonfinite_patience,
        steps_per_dispatch=steps_per_dispatch,
        seed=seed,
        ema_decay=ema_decay,
        placement=placement,
        compute_dtype=compute_dtype,
    )
    _check_validation(train_data, validation_data)
    steps_per_epoch = train_data.num_images // batch_size
    if steps_per_epoch == 0:
        raise UserError(
            f"the training split holds {train_data.num_images} images, less than one batch of "
            f"{batch_size}; use a smaller batch size"
        )
    mesh = device_mesh(devices)
    transformation = optimizer.transformation(steps_per_epoch, epochs, frozen)
    learning = {
        "loss": loss,
        "frozen": frozen,
        "augmentation": augmentation,
        "compute_dtype": compute_dtype,
        "seed": seed,
    }
    stepping = {**learning, "ema_decay": ema_decay}
    order = {"batch_size": batch_size, "seed": seed, "mesh": mesh}
    if placement != "streamed":
        train_data = in_memory(train_data, placement)
        validation_data = validation_data and in_memory(validation_data, placement)
    if placement == "device" and not debug_nonfinite:  # its check needs the batch at hand
        most = feeding.steps_together(mesh, steps_per_dispatch)
        steps = make_resident_steps(model, transformation, mesh, **stepping, most=most)
        held = in_memory(train_data, placement)
        on_devices = put_on_devices(held, mesh)
        feed: Feed = Resident(steps, held, on_devices, **order, most=most)
    else:
        step = make_train_step(model, transformation, mesh, **stepping)
        feed = Streamed(step, train_data, **order)
    training = _Training(
        feed=feed,
        loss_step=make_loss_step(model, mesh, loss=loss),
        check=make_finiteness_check(model, mesh, **learning) if debug_nonfinite else None,
        schedule=optimizer.schedule(steps_per_epoch, epochs),
        validation_data=validation_data,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        mesh=mesh,
        patience=nonfinite_patience,
        callbacks=(*callbacks, ProgressLine())
        if verbose and is_primary_process()
        else tuple(callbacks),
        verbose=verbose and is_primary_process(),
    )
    variables = _starting_variables(model, train_data.image_size, initial_weights, seed)
    _check_parts(variables, frozen)
    state = jax.device_put(
        create_state(variables, transformation, averaged=ema_decay > 0),
        NamedSharding(mesh, PartitionSpec()),
    )
    settings = {
        "model": classifier_config(model),
        "data": {"image_size": train_data.image_size, "train_images": train_data.num_images},
        "batch_size": batch_size,
        "augmentation": dataclasses.asdict(augmentation or Augmentation()),
        "compute_dtype": compute_dtype,
        "ema_decay": ema_decay,
        "epochs": epochs,
        "frozen": list(frozen),
        "optimizer": dataclasses.asdict(optimizer),
        "seed": seed,
    }
    progress, interrupted = _run(training, Progress(state, History(), epochs, settings))
    return Run(model, progress.state.evaluated, progress.history, interrupted, progress.unfinished)


@dataclasses.dataclass(frozen=True)
class _Training:
    """What stays the same from step to step; see the arguments of `fit`."""

    feed: Feed
    loss_step: Callable[..., tuple[jax.Array, jax.Array]]
    check: Callable[..., Mapping[tuple[int, str], jax.Array]] | None
    schedule: optax.Schedule
    validation_data: DataSource | None
    batch_size: int
    steps_per_epoch: int
    epochs: int
    mesh: jax.sharding.Mesh
    patience: int
    callbacks: tuple[Callback, ...]
    verbose: bool

    def interruption(self) -> str | None:
        """Returns why the training is to be left, if it is."""
        reasons = [callback.interruption() for callback in self.callbacks]
        return next((reason for reason in reasons if reason is not None), None)

    def is_done(self, history: History) -> bool:
        """Tells whether no epoch is to come."""
        stopped = len(history) > 0 and any(c.should_stop(history) for c in self.callbacks)
        return stopped or len(history) >= self.epochs

    def pauses_after(self, step: int) -> bool:
        """Tells whether a callback wants to do something after a step of an epoch."""
        wishes = [callback.pauses_after(step) for callback in self.callbacks]  # all are asked
        return any(wishes)


def _run(training: _Training, progress: Progress) -> tuple[Progress, str | None]:
    """Trains to the end or to an interruption; returns the place, and the reason of the latter."""
    interrupted = None
    with ExitStack() as stack:
        for callback in reversed(training.callbacks):
            stack.callback(callback.on_train_end)
        start = progress
        for callback in training.callbacks:
            progress = callback.on_train_begin(progress)
        if progress is not start:
            for callback in training.callbacks:
                callback.on_resume(progress)
        while not training.is_done(progress.history):
            progress, interrupted = _train_epoch(training, progress)
            if interrupted is None:
                progress, interrupted = _end_epoch(training, progress)
            if interrupted is not None:
                break
        if progress.unfinished.steps:
            for callback in training.callbacks:
                callback.on_pause(progress)
    return progress, interrupted


def _train_epoch(training: _Training, progress: Progress) -> tuple[Progress, str | None]:
    """Does the steps that an epoch lacks, up to an interruption; returns its reason, if any."""
    state, before = progress.state, progress.unfinished
    epoch = len(progress.history) + 1
    losses = StepLosses(before, epoch, training.patience)
    began = time.perf_counter() - before.seconds
    interrupted = training.interruption()

    def place() -> Progress:
        losses.read()
        seconds = time.perf_counter() - began
        unfinished = UnfinishedEpoch(tuple(losses.losses), before.skipped_before, seconds)
        return dataclasses.replace(progress, state=state, unfinished=unfinished)

    with _bar(training, epoch, before.steps) as bar:
        for dispatch in training.feed.dispatches(epoch, before.steps, training.pauses_after):
            if interrupted is not None:
                break
            state, of_steps = dispatch.advance(state)
            losses.add(of_steps, dispatch.batches)
            bar.update(len(dispatch.batches))
            if training.check is not None and math.isnan(float(of_steps)):
                culprit = first_not_finite(training.check(state, dispatch.on_devices))
                where = describe_step(epoch, losses.steps, dispatch.batches[0])
                raise UserError(f"{where}: {culprit} is the first that is not finite")
            interrupted = training.interruption()
            if interrupted is None and dispatch.pauses:
                for callback in training.callbacks:
                    callback.on_pause(place())
    return place(), interrupted


def check_settings(
    *, seed: int, ema_decay: float, placement: str, compute_dtype: str, **at_least_one: int
) -> None:
    """Checks arguments of `fit`, by these names, as far as they can be without data.

    Raises:
        UserError: A value is out of range, or none of the choices.
    """
    for name, value in at_least_one.items():
        if value < 1:
            raise UserError(f"{name} is {value}; at least 1 is needed")
        if value > _LARGEST:
            raise UserError(f"{name} is {value:,}; it must be {_LARGEST:,} at most")
    if not 0 <= seed <= _LARGEST:
        raise UserError(f"seed is {seed}; it must be 0 or more, and {_LARGEST:,} at most")
    if not 0 <= ema_decay < 1:
        raise UserError(f"ema_decay is {ema_decay}; it must be at least 0 and below 1")
    _check_choice("placement", placement, PLACEMENTS)
    _check_choice("compute_dtype", compute_dtype, COMPUTE_DTYPES)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"{name} is {value!r}; use one of {', '.join(choices)}")


def _check_validation(train: DataSource, validation: DataSource | None) -> None:
    if validation is not None and validation.image_size != train.image_size:
        raise UserError(
            f"the validation radiographs are of {validation.image_size} pixels, those for training "
            f"of {train.image_size}; prepare both at one size"
        )


def _check_parts(variables: Variables, frozen: Sequence[str]) -> None:
    """Refuses a part to freeze that the network does not have."""
    paths = [
        tuple(key.key for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])
    ]
    for part in frozen:
        if not any(in_part(path, (part,)) for path in paths):
            known = sorted({"/".join(path[:depth]) for path in paths for depth in (1, 2)})
            raise UserError(f"frozen names {part!r}, no part of the network: {', '.join(known)}")


def _starting_variables(
    model: Classifier, image_size: int, initial_weights: Variables | str | Path | None, seed: int
) -> Variables:
    variables = initial_variables(model, image_size, seed)
    if initial_weights is None:
        return variables
    if isinstance(initial_weights, str | Path):
        from jaxcxr.models.weights.pretrained import initialize  # needs huggingface_hub

        return initialize(model, variables, initial_weights)
    return initial_weights


def _bar(training: _Training, epoch: int, done: int) -> tqdm:
    """Returns the progress bar of an epoch."""
    return tqdm(
        desc=f"epoch {epoch:>2}/{training.epochs}",
        initial=done,
        total=training.steps_per_epoch,
        unit="step",
        leave=False,
        disable=None if training.verbose else True,  # None: only where there is no terminal
    )


def _end_epoch(training: _Training, progress: Progress) -> tuple[Progress, str | None]:
    """Validates and records an epoch whose steps are done; interrupted, it leaves it unfinished."""
    steps, epoch = progress.unfinished, len(progress.history) + 1
    began = time.perf_counter()
    record: dict[str, float] = {"epoch": epoch, "loss": steps.mean_loss}
    if training.validation_data is not None:
        loss, interrupted = _validate(training, training.validation_data, progress.state.evaluated)
        if interrupted is not None:
            return progress, interrupted
        record["val_loss"] = loss
    rate = training.schedule((epoch - 1) * training.steps_per_epoch)
    record |= {
        "learning_rate": float(np.asarray(rate)),
        "skipped_steps": steps.skipped,
        "seconds": steps.seconds + time.perf_counter() - began,
        "images_per_second": training.steps_per_epoch * training.batch_size / steps.seconds,
    }
    progress = dataclasses.replace(
        progress,
        history=progress.history.with_epoch(record),
        unfinished=UnfinishedEpoch(skipped_before=steps.skipped_in_a_row),
    )
    for callback in training.callbacks:
        callback.on_epoch_end(progress)
    return progress, None


def _validate(
    training: _Training, data: DataSource, variables: Variables
) -> tuple[float, str | None]:
    """Returns the mean of the batches' losses, each weighted by its number of images.

    Where the training is interrupted meanwhile, the loss is that of the batches so far, and comes
    with the reason.
    """
    total, images, interrupted = 0.0, 0, None
    batches = data.batches(
        training.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    for batch in batches:
        sharded = shard_batch(batch, training.mesh)
        loss, count = training.loss_step(variables, sharded)
        total, images = total + float(loss) * int(count), images + int(count)
        interrupted = training.interruption()
        if interrupted is not None:
            break
    if images == 0:
        raise UserError("the validation split holds no images; prepare one with some")
    return total / images, interrupted
