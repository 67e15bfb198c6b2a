"""`fit`: training with Keras' arguments."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, classifier_config
from jaxcxr.models.ops.normalization import in_part
from jaxcxr.models.weights.pretrained import initialize
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.callbacks import Callback, EarlyStopping, Progress, ProgressLine
from jaxcxr.training.devices import EVERYWHERE, device_mesh
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.feeding import (
    DATA_PLACEMENTS,
    DataPlacement,
    DataSource,
    in_memory,
    resident,
    streamed,
)
from jaxcxr.training.history import History, UnfinishedEpoch
from jaxcxr.training.loop import Training, train
from jaxcxr.training.losses import loss_name, weighted_cross_entropy
from jaxcxr.training.objective import COMPUTE_DTYPES, ComputeDtype, Loss, Objective
from jaxcxr.training.optimizers import (
    Adam,
    Optimizer,
    build_transformation,
    optimizer_settings,
)
from jaxcxr.training.state import Variables, create_state, initial_variables
from jaxcxr.training.steps import TrainStep
from jaxcxr.training.validation import Metric, Validation, named_metrics

_MAX_COUNT = 2**31 - 1
"""Steps and epochs are counted in 32 bits on the devices."""


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """A finished training, or one that was interrupted.

    Attributes:
        model: The network.
        variables: Its variables after the last step (their moving average where one is kept), or
            after the best epoch where `EarlyStopping(restore_best_weights=True)` asks for it.
        history: Losses, metrics and rates per epoch; `run.history["val_loss"]` is a list to plot.
        interrupted: Why the training stopped before its end ("SIGTERM"); None where it did not.
        unfinished: The epoch in which it was interrupted.
    """

    model: Classifier
    variables: Variables
    history: History
    interrupted: str | None = None
    unfinished: UnfinishedEpoch = UnfinishedEpoch()  # noqa: RUF009, frozen

    def __repr__(self) -> str:
        """Returns one line: the network, the number of epochs and the best one."""
        parts = [type(self.model.backbone).__name__, type(self.model.head).__name__]
        words = [" with ".join(parts), f"{len(self.history)} epochs"]
        best = self.history.best_epoch()
        if best is not None:
            name = "val_loss" if "val_loss" in self.history.epochs[best - 1] else "loss"
            words.append(f"best epoch {best}: {name} {self.history[name][best - 1]:.4f}")
        if self.interrupted is not None:
            words.append(f"interrupted by {self.interrupted}")
        return f"<Run: {', '.join(words)}>"

    def _repr_html_(self) -> str:
        """Returns the history as a table for notebooks."""
        table = self.history.to_frame().to_html(index=False, float_format="{:.4g}".format)
        return f"<p>{self!r}</p>".replace("<Run: ", "").replace("></p>", "</p>") + table


def fit(
    model: Classifier,
    train_data: DataSource,
    *,
    validation_data: DataSource | None = None,
    epochs: int = 30,
    batch_size: int = 128,
    optimizer: Optimizer | None = None,
    loss: Loss = weighted_cross_entropy,
    metrics: Sequence[str | Metric] = (),
    initial_weights: Variables | str | Path | None = None,
    frozen: Sequence[str] | str = (),
    augmentation: Augmentation | None = None,
    ema_decay: float = 0.0,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    devices: Sequence[Any] | None = None,
    data_placement: DataPlacement = "streamed",
    compute_dtype: ComputeDtype = "float32",
    nonfinite_patience: int = 10,
    verbose: bool = True,
) -> Run:
    """Trains a classifier on image-level labels.

    Args:
        model: The network.
        train_data: The training split.
        validation_data: The split whose loss selects the best epoch and stops early. The loss is
            evaluated once on the complete split (one |P| and |N|), not as a mean over batches.
        epochs: Greatest number of epochs.
        batch_size: Images per step, over all devices.
        optimizer: `Adam`, any `optax.GradientTransformation`, or a function (steps_per_epoch,
            epochs) that returns one; `Adam()` by default.
        loss: Function (logits (B, K), labels (B, K), mask (B,)) → scalar of the global batch; see
            `losses`.
        metrics: Of the validation split: "auc" (mean over the findings that have both classes), or
            functions (logits (N, K), labels (N, K)) → number. The history has them as ``val_auc``.
        initial_weights: Variables to start from; "imagenet"; the path of a weights file or folder
            (see `jaxcxr.models.weights.pretrained.initialize`); None or "random" for random ones.
            Parts without weights there are drawn from `seed`.
        frozen: Parts whose parameters and batch norm statistics keep their values, for example
            ("backbone",) or ("backbone/stage1", "backbone/stage2").
        augmentation: Random changes of the training images; none by default.
        ema_decay: Keep an exponential moving average of the weights with this decay (for example
            0.999) and validate, save and predict with it; 0 keeps none.
        seed: Of the initial weights, the order of the images and their augmentation. The same seed
            and number of devices give the same bits.
        callbacks: For example `EarlyStopping()`, `BackupAndRestore(workdir)`.
        devices: The devices to use; all by default.
        data_placement: Where the radiographs are: "streamed" from their source; in "host" memory,
            read once; the training split on each "device", gathered, augmented and normalized
            within the step (7.4 GB for 112,120 of 256×256). The batches are the same, bit for bit.
        compute_dtype: "bfloat16" makes the network's layers compute in it; parameters, batch norm
            statistics, loss, gradients and updates stay float32, and so does validation.
        nonfinite_patience: A step whose loss or gradients are not finite changes nothing and is
            counted in the history; after so many in a row the training ends with an error.
        verbose: Whether to show a progress bar and a line per epoch.

    Raises:
        UserError: A split that is empty or smaller than a batch, a batch that does not divide over
            the devices, a workdir of another run, numbers that are not finite.
    """
    check_settings(
        batch_size=batch_size,
        epochs=epochs,
        nonfinite_patience=nonfinite_patience,
        seed=seed,
        ema_decay=ema_decay,
        data_placement=data_placement,
        compute_dtype=compute_dtype,
    )
    batch_size, epochs, seed = int(batch_size), int(epochs), int(seed)  # NumPy's are not JSON
    _check_data(train_data, validation_data, batch_size)
    if data_placement != "streamed":
        train_data = in_memory(train_data, data_placement)
        validation_data = validation_data and in_memory(validation_data, data_placement)
    steps_per_epoch, mesh = train_data.num_images // batch_size, device_mesh(devices)
    optimizer = optimizer or Adam()
    frozen = (frozen,) if isinstance(frozen, str) else tuple(frozen)
    objective = Objective(model, loss, frozen, augmentation, seed, compute_dtype)
    transformation = build_transformation(optimizer, steps_per_epoch, epochs, frozen)
    step = TrainStep(objective, transformation, ema_decay)
    make_feed = resident if data_placement == "device" else streamed
    validation, named = None, named_metrics(metrics)
    if validation_data is not None:
        validation = Validation(validation_data, model, loss, named, batch_size, mesh)
    _check_monitors(callbacks, named if validation else {})
    verbose = verbose and is_primary_process()
    training = Training(
        feed=make_feed(step, train_data, batch_size, seed, mesh),
        validation=validation,
        optimizer=optimizer,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        patience=nonfinite_patience,
        callbacks=(*callbacks, ProgressLine()) if verbose else tuple(callbacks),
        verbose=verbose,
    )
    variables = starting_variables(model, train_data.image_size, initial_weights, seed, frozen)
    best = any(isinstance(c, EarlyStopping) and c.restore_best_weights for c in callbacks)
    state = create_state(variables, transformation, averaged=ema_decay > 0, keeps_best=best)
    state = jax.device_put(state, NamedSharding(mesh, EVERYWHERE))
    start = _name_weights(initial_weights, variables)
    settings = _settings(step, training, train_data, start, best)
    progress, interrupted = train(training, Progress(state, History(), epochs, settings))
    variables = progress.state.best or progress.state.evaluated
    return Run(model, variables, progress.history, interrupted, progress.unfinished)


def _settings(
    step: TrainStep,
    training: Training,
    data: DataSource,
    initial_weights: str,
    restore_best_weights: bool,
) -> dict[str, Any]:
    """Returns what config.json says about a training, as plain values."""
    objective = step.objective
    return {
        "model": classifier_config(objective.model),
        "data": {"image_size": data.image_size},
        "train_images": data.num_images,
        "augmentation": dataclasses.asdict(objective.augmentation or Augmentation()),
        "compute_dtype": objective.compute_dtype,
        "frozen": list(objective.frozen),
        "loss_function": loss_name(objective.loss),
        "optimizer": optimizer_settings(training.optimizer),
        "seed": objective.seed,
        "batch_size": training.batch_size,
        "ema_decay": step.ema_decay,
        "epochs": training.epochs,
        "restore_best_weights": restore_best_weights,
        "initial_variables": initial_weights,
    }


def _name_weights(weights: Variables | str | Path | None, variables: Variables) -> str:
    """Returns "random" or "imagenet", or a checksum of the variables that were given."""
    if weights is None or weights in ("imagenet", "random"):
        return str(weights or "random")
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(variables):
        digest.update(np.asarray(leaf).tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"


def check_settings(
    *, seed: int, ema_decay: float, data_placement: str, compute_dtype: str, **at_least_one: int
) -> None:
    """Checks arguments of `fit`, by these names, as far as possible without data.

    Raises:
        UserError: A value is out of range, not an integer, or not one of the choices.
    """
    for name, value in {"seed": seed, **at_least_one}.items():
        if not isinstance(value, int | np.integer):
            raise UserError(f"{name} is {value!r}; expected an integer", argument=name)
    for name, value in at_least_one.items():
        if value < 1:
            raise UserError(f"{name} is {value}; at least 1 is needed", argument=name)
        if value > _MAX_COUNT:
            raise UserError(f"{name} is {value:,}; expected at most {_MAX_COUNT:,}", argument=name)
    if not 0 <= seed <= _MAX_COUNT:
        raise UserError(f"seed is {seed}; expected 0 to {_MAX_COUNT:,}", argument="seed")
    if not 0 <= ema_decay < 1:
        raise UserError(f"ema_decay is {ema_decay}; it must be at least 0 and below 1")
    _check_choice("data_placement", data_placement, DATA_PLACEMENTS)
    _check_choice("compute_dtype", compute_dtype, COMPUTE_DTYPES)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"{name} is {value!r}; use one of {', '.join(choices)}", argument=name)


def _check_data(train: DataSource, validation: DataSource | None, batch_size: int) -> None:
    if train.num_images < batch_size:
        raise UserError(
            f"the training split holds {train.num_images} images, less than one batch of "
            f"{batch_size}; use a smaller batch size",
            argument="batch_size",
        )
    if validation is not None and validation.image_size != train.image_size:
        raise UserError(
            f"the validation radiographs are of {validation.image_size} pixels, those for training "
            f"of {train.image_size}; prepare both at one size"
        )


def _check_monitors(callbacks: Sequence[Callback], metrics: Mapping[str, Metric]) -> None:
    """Refuses a callback that monitors a value which the history will not have."""
    known = ["loss", "val_loss", *(f"val_{name}" for name in metrics)]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", "val_loss")
        if monitor not in known:
            raise UserError(
                f"{type(callback).__name__} monitors {monitor!r}; the history will have "
                f"{', '.join(known)}; add it to metrics",
                argument="metrics",
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
            raise UserError(
                f"frozen names {part!r}; the network's parts are {', '.join(known)}",
                argument="frozen",
            )


def starting_variables(
    model: Classifier,
    image_size: int,
    initial_weights: Variables | str | Path | None,
    seed: int,
    frozen: Sequence[str] = (),
) -> Variables:
    """Returns the variables that a training starts from; the arguments are those of `fit`."""
    variables = initial_variables(model, image_size, seed)
    _check_parts(variables, frozen)
    return initialize(model, variables, "random" if initial_weights is None else initial_weights)
