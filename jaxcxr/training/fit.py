"""`fit`: the training loop, with Keras' arguments."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, classifier_config
from jaxcxr.models.normalization import in_part
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.callbacks import Callback, Progress, ProgressLine
from jaxcxr.training.history import History
from jaxcxr.training.losses import weighted_cross_entropy
from jaxcxr.training.optimizers import Adam
from jaxcxr.training.state import TrainState, Variables, create_state, initial_variables
from jaxcxr.training.steps import Loss, device_mesh, make_loss_step, make_train_step, shard_batch


class Radiographs(Protocol):
    """Where batches come from: `jaxcxr.data.Split`, `jaxcxr.data.ArraySplit` or one's own."""

    @property
    def num_images(self) -> int:
        """Number of radiographs."""
        ...

    @property
    def image_size(self) -> int:
        """Height and width of each radiograph in pixels."""
        ...

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """Yields batches with `image` (B, S, S, 1) uint8, `labels` (B, K) and `mask` (B,) bool.

        With a seed: shuffled for (seed, epoch), an incomplete last batch dropped. Without: in
        order, the last batch padded with rows whose mask is False.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        model: The network.
        variables: Its variables after the last epoch (their moving average where one is kept).
        history: Losses and rates per epoch; `run.history["val_loss"]` is a list to plot.
    """

    model: Classifier
    variables: Variables
    history: History


def fit(
    model: Classifier,
    train_data: Radiographs,
    *,
    validation_data: Radiographs | None = None,
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
            `jaxcxr.models.pretrained.initialize`); None for random ones. What they leave is drawn
            from `seed`.
        frozen: Parts whose parameters and batch norm statistics keep their values, for example
            ("backbone",) or ("backbone/stage1", "backbone/stage2").
        augmentation: Random changes of the training images; none where not given.
        ema_decay: Keep an exponential moving average of the weights with this decay (0.999, say)
            and validate, save and predict with it; 0 keeps none.
        seed: Of the initial weights, the order of the images and their augmentation. The same seed
            and number of devices give the same bits.
        callbacks: For example `EarlyStopping()`, `ModelCheckpoint(workdir)`.
        devices: The devices to use; all where not given.
        verbose: Whether to show a progress bar and a line per epoch.

    Raises:
        UserError: A split that is empty or smaller than a batch, a batch that does not divide over
            the devices, a workdir of another run.
    """
    optimizer = Adam() if optimizer is None else optimizer
    frozen = (frozen,) if isinstance(frozen, str) else tuple(frozen)
    _check_numbers(batch_size=batch_size, epochs=epochs, seed=seed, ema_decay=ema_decay)
    _check_validation(train_data, validation_data)
    steps_per_epoch = train_data.num_images // batch_size
    if steps_per_epoch == 0:
        raise UserError(
            f"the training split holds {train_data.num_images} images, less than one batch of "
            f"{batch_size}; use a smaller batch size"
        )
    mesh = device_mesh(devices)
    transformation = optimizer.transformation(steps_per_epoch, epochs, frozen)
    schedule = optimizer.schedule(steps_per_epoch, epochs)
    train_step = make_train_step(
        model,
        transformation,
        mesh,
        loss=loss,
        frozen=frozen,
        augmentation=augmentation,
        ema_decay=ema_decay,
        seed=seed,
    )
    loss_step = make_loss_step(model, mesh, loss=loss)

    variables = _starting_variables(model, train_data.image_size, initial_weights, seed)
    _check_parts(variables, frozen)
    state = jax.device_put(
        create_state(variables, transformation, averaged=ema_decay > 0),
        NamedSharding(mesh, PartitionSpec()),
    )
    settings = {
        "model": classifier_config(model),
        "data": {"image_size": train_data.image_size},
        "batch_size": batch_size,
        "augmentation": dataclasses.asdict(augmentation or Augmentation()),
        "ema_decay": ema_decay,
        "epochs": epochs,
        "frozen": list(frozen),
        "optimizer": dataclasses.asdict(optimizer),
        "seed": seed,
    }
    progress = Progress(state, History(), epochs, settings)
    if verbose:
        callbacks = (*callbacks, ProgressLine())
    try:
        for callback in callbacks:
            progress = callback.on_train_begin(progress)
        while len(progress.history) < epochs and not _stopped(callbacks, progress.history):
            epoch = len(progress.history) + 1
            started = time.perf_counter()
            label = f"epoch {epoch:>2}/{epochs}" if verbose else None
            batches = _sharded(train_data, batch_size, seed, epoch)
            state, record = _train_epoch(
                train_step, progress.state, batches, mesh, steps_per_epoch, label
            )
            seconds = time.perf_counter() - started
            if validation_data is not None:
                record["val_loss"] = _mean_loss(
                    loss_step, state.evaluated, validation_data, batch_size, mesh
                )
            record = {"epoch": epoch, **record}
            record["learning_rate"] = float(np.asarray(schedule((epoch - 1) * steps_per_epoch)))
            record["seconds"] = time.perf_counter() - started
            record["images_per_second"] = steps_per_epoch * batch_size / seconds
            progress = dataclasses.replace(
                progress, state=state, history=progress.history.with_epoch(record)
            )
            for callback in callbacks:
                callback.on_epoch_end(progress)
    finally:
        for callback in callbacks:
            callback.on_train_end()
    return Run(model, progress.state.evaluated, progress.history)


def _check_numbers(*, batch_size: int, epochs: int, seed: int, ema_decay: float) -> None:
    for name, value, least in (("batch_size", batch_size, 1), ("epochs", epochs, 1)):
        if value < least:
            raise UserError(f"{name} is {value}; at least {least} is needed")
    if seed < 0:
        raise UserError(f"seed is {seed}; it must be 0 or more")
    if not 0 <= ema_decay < 1:
        raise UserError(f"ema_decay is {ema_decay}; it must be at least 0 and below 1")


def _check_validation(train: Radiographs, validation: Radiographs | None) -> None:
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
        from jaxcxr.models.pretrained import initialize  # needs huggingface_hub

        return initialize(model, variables, initial_weights)
    return initial_weights


def _stopped(callbacks: Sequence[Callback], history: History) -> bool:
    return len(history) > 0 and any(callback.should_stop(history) for callback in callbacks)


def _sharded(
    data: Radiographs, batch_size: int, seed: int | None, epoch: int
) -> Iterator[Mapping[str, np.ndarray]]:
    return data.batches(
        batch_size,
        seed=seed,
        epoch=epoch,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _train_epoch(
    train_step: Any,
    state: TrainState,
    batches: Iterator[Mapping[str, np.ndarray]],
    mesh: jax.sharding.Mesh,
    steps: int,
    label: str | None,
) -> tuple[TrainState, dict[str, float]]:
    """Runs one epoch; returns the state after it and its mean loss."""
    losses: list[jax.Array] = []
    hidden = True if label is None else None  # None: only where there is no terminal
    for batch in tqdm(batches, label, total=steps, unit="step", leave=False, disable=hidden):
        state, loss = train_step(state, shard_batch(batch, mesh))
        losses.append(loss)
        if len(losses) > 2:  # let the host run ahead, but not by an epoch's worth of batches
            losses[-3].block_until_ready()
    return state, {"loss": float(np.mean([float(loss) for loss in losses]))}


def _mean_loss(
    loss_step: Any,
    variables: Variables,
    data: Radiographs,
    batch_size: int,
    mesh: jax.sharding.Mesh,
) -> float:
    """Returns the mean of the batches' losses, each weighted by its number of images."""
    total, images = 0.0, 0
    for batch in _sharded(data, batch_size, None, 0):
        loss, count = loss_step(variables, shard_batch(batch, mesh))
        total, images = total + float(loss) * int(count), images + int(count)
    if images == 0:
        raise UserError("the validation split holds no images; prepare one with some")
    return total / images
