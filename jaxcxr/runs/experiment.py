"""An experiment: its settings, and how they become a call of `fit`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_collections
from flax.traverse_util import flatten_dict
from ml_collections.config_dict import placeholder

from jaxcxr.data.variant import Variant
from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, Pixels, backbones, build_classifier, classifier_config, heads
from jaxcxr.models.fields import field_types, plain_type
from jaxcxr.models.weights.sources import is_known
from jaxcxr.runs.callbacks import BackupAndRestore, StopOnSignals
from jaxcxr.runs.trained import starting_weights
from jaxcxr.runs.workdir import claim_workdir, trained_on_other_data, write_run_facts
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.callbacks import (
    CSVLogger,
    EarlyStopping,
    TensorBoard,
)
from jaxcxr.training.distributed import is_primary_process
from jaxcxr.training.fit import Run, check_settings, fit
from jaxcxr.training.losses import (
    binary_cross_entropy,
    focal_loss,
    weighted_cross_entropy,
    weighted_cross_entropy_per_finding,
)
from jaxcxr.training.objective import Loss
from jaxcxr.training.optimizers import Adam
from jaxcxr.training.state import count_parameters
from jaxcxr.training.validation import named_metrics

if TYPE_CHECKING:
    from jaxcxr.data.pipeline import Data

Config = Any
"""An `ml_collections.ConfigDict`; type checkers cannot know its attributes."""

LOSSES: dict[str, Callable[..., Any]] = {
    loss.__name__: loss
    for loss in (
        weighted_cross_entropy,
        weighted_cross_entropy_per_finding,
        binary_cross_entropy,
        focal_loss,
    )
}


_OF_FIT = (
    "batch_size",
    "compute_dtype",
    "data_placement",
    "ema_decay",
    "epochs",
    "nonfinite_patience",
    "seed",
)
"""Settings that are arguments of `fit` as they are."""


def default_config() -> Config:
    """Returns every setting of an experiment at the value of the paper's baseline (section 4.1).

    A file of configs/ starts from here and changes what is different; `--config.a.b=value` changes
    one more on the command line.
    """
    return ml_collections.ConfigDict(
        {
            "model": {
                # Fields without a value have the module's default; see docs/networks.md.
                "backbone": {"name": "ResNet34", **_unset_fields(backbones())},
                "head": {"name": "Baseline", **_unset_fields(heads())},
                "pixels": dataclasses.asdict(Pixels()),  # scale of gray values; ImageNet's
            },
            "initial_weights": "imagenet",  # "random", a run, model folder, file, hf:owner/name
            "frozen": (),  # parts that are not trained: ("backbone",), ("backbone/stage1",) …
            "data": {"image_size": 256, "split": "by_patient", "split_seed": 0, "square": "squash"},
            "loss": "weighted_cross_entropy",  # or one of `LOSSES`
            "label_smoothing": 0.0,
            "metrics": ("auc",),  # of the validation split, after each epoch
            "optimizer": {
                "learning_rate": 1e-4,
                "weight_decay": 0.0,
                "decoupled": False,  # True: AdamW
                "drop_every": placeholder(int),  # epochs
                "drop_factor": 0.1,
                "cosine": False,
                "warmup_epochs": 0.0,
                "clip_norm": placeholder(float),
            },
            "augmentation": {
                "horizontal_flip": False,
                "crop_scale": 1.0,
                "rotation": 0.0,  # degrees
                "translation": 0.0,
                "intensity_shift": 0.0,
            },
            "ema_decay": 0.0,
            "batch_size": 128,
            "compute_dtype": "float32",  # or bfloat16, for the layers; all else stays float32
            "data_placement": "streamed",  # or "host", "device": in their memory
            "epochs": 30,
            "early_stopping": {"patience": 3, "min_delta": 0.001},
            "seed": 0,
            "checkpoint_every": 0,  # steps; 0: at the end of each epoch alone
            "keep_checkpoints": 2,  # of the latest, beside the best epoch's
            "nonfinite_patience": 10,  # steps in a row that may be skipped
        }
    )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment whose settings have been checked, ready to be trained.

    Attributes:
        config: The settings.
        model: The network that they describe, and so on.
    """

    config: Config
    model: Classifier
    loss: Loss
    initial_weights: str
    optimizer: Adam
    augmentation: Augmentation
    early_stopping: EarlyStopping

    @classmethod
    def from_config(cls, config: Config) -> Experiment:
        """Reads the settings of a file of configs/; `default_config` lists them all.

        Raises:
            UserError: A setting is unknown or of another type; a value is invalid.
        """
        config = _completed(config)
        if not 0 <= config.label_smoothing < 1:
            raise UserError(
                f"config.label_smoothing is {config.label_smoothing}; it must be at least 0 and "
                "below 1"
            )
        if config.loss not in LOSSES:
            raise UserError(f"config.loss is {config.loss!r}; use one of {', '.join(LOSSES)}")
        Variant(**config.data)
        check_settings(**{name: config[name] for name in _OF_FIT})
        named_metrics(config.metrics)
        return cls(
            config=config,
            model=build_classifier(_set_fields(config.model.to_dict())),
            loss=functools.partial(LOSSES[config.loss], label_smoothing=config.label_smoothing),
            initial_weights=_initial_weights(config.initial_weights),
            optimizer=Adam(**config.optimizer),
            augmentation=Augmentation(**config.augmentation),
            early_stopping=EarlyStopping(**config.early_stopping),
        )

    def train(self, data: Data, workdir: Path) -> Run:
        """Trains in `workdir`, or resumes where an earlier call was stopped.

        SIGTERM or SIGINT ends the step under way and saves; `Run.interrupted` names it.

        Args:
            data: The prepared dataset that `config.data` names.
            workdir: Folder of the run.

        Raises:
            UserError: The folder holds another run; the errors of `fit`.
        """
        saved = BackupAndRestore(
            workdir, every=self.config.checkpoint_every, keep=self.config.keep_checkpoints
        )
        with saved.locked():
            if is_primary_process():
                self._describe(data, workdir)
            return self._fit(data, workdir, saved)

    def _describe(self, data: Data, workdir: Path) -> None:
        """Writes config.json and run.json, or checks those that are there."""
        settings = {**self.config.to_dict(), "model": classifier_config(self.model)}
        claim_workdir(workdir, settings)
        if (other := trained_on_other_data(workdir, data.facts)) is not None:
            raise UserError(f"{other}; name a new folder, or that dataset", argument="workdir")
        if not (workdir / "run.json").exists():
            parameters = count_parameters(self.model, self.config.data.image_size)
            write_run_facts(workdir, data=dict(data.facts), parameters=parameters)

    def _fit(self, data: Data, workdir: Path, saved: BackupAndRestore) -> Run:
        return fit(
            self.model,
            data.train,
            validation_data=data.validation,
            **{name: self.config[name] for name in _OF_FIT},
            optimizer=self.optimizer,
            loss=self.loss,
            metrics=self.config.metrics,
            initial_weights=starting_weights(self.initial_weights),
            frozen=self.config.frozen,
            augmentation=self.augmentation,
            callbacks=[
                self.early_stopping,
                StopOnSignals(),
                saved,
                CSVLogger(workdir / "history.csv"),
                TensorBoard(workdir / "tensorboard"),
            ],
        )


def _unset_fields(modules: Mapping[str, type]) -> dict[str, Any]:
    """Returns every field of the registered modules without a value, so that flags can set it."""
    types = {
        name: plain_type(annotation)
        for module in modules.values()
        for name, annotation in field_types(module).items()
        if name != "num_classes"
    }
    return {name: placeholder(kind) for name, kind in types.items()}


def _set_fields(model: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config's network without the fields that have no value."""
    return {
        name: {k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else part
        for name, part in model.items()
    }


def _completed(config: Config) -> Config:
    """Returns the default settings with those of `config` in their places."""
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(
            f"the config is a {type(config).__name__}; expected a ConfigDict: start from "
            "default_config()"
        )
    completed = default_config()
    known = flatten_dict(completed.to_dict(), sep=".")
    for name, value in flatten_dict(config.to_dict(), sep=".").items():
        if name.startswith(("model.backbone.", "model.head.")):
            continue  # checked against the fields of the module, which need not be registered yet
        if name not in known:
            close = difflib.get_close_matches(name, known, 1) or [f"one of {', '.join(known)}"]
            raise UserError(f"config.{name} is not a setting; did you mean {close[0]}?")
        try:
            if value is None and known[name] is not None:
                raise TypeError
            completed.update_from_flattened_dict({name: value})
        except TypeError as error:
            kind = type(known[name]).__name__ if known[name] is not None else "another type"
            raise UserError(f"config.{name} is {value!r}; expected {kind}") from error
    completed.model = config.get("model", completed.model)
    return completed


def _initial_weights(value: str) -> str:
    if not value or (value not in ("imagenet", "random") and not is_known(value)):
        raise UserError(
            f"config.initial_weights is {value!r}, which does not exist; use imagenet, random, "
            "hf:owner/name, or the path of a run, a model folder or a file of weights"
        )
    return value
