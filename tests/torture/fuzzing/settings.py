"""Settings of an experiment, as words of the command line and as values of a config."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

import jaxcxr as cxr
from jaxcxr.cli import program as command_line
from jaxcxr.errors import UserError
from jaxcxr.runs.experiment import Experiment
from jaxcxr.training.state import count_parameters
from tests.torture.fuzzing.trial import Trial

Rng = np.random.Generator

CONFIG = """
from jaxcxr.runs.experiment import default_config

def get_config():
    config = default_config()
    config.model.backbone.update(name="ResNet18", width=4, blocks=(1, 1, 1))
    config.initial_weights = "random"
    config.data.image_size = 32
    config.batch_size = 4
    config.epochs = 2
    return config
"""

WHOLE = ("0", "1", "2", "3", "7", "-1", "-7", "10000000", "9999999999999", "0x10", "1_0", "٣")
REAL = ("0.5", "0.0", "1.0", "-0.1", "1e-3", "nan", "inf", "-inf", "1e400", "1e-400", "1e38")
TUPLES = ("()", "(1,)", "(1, 1, 1)", "(0,)", "(-1, 2)", "(1, 'a')", "1", "(64,)", "(1, 10**6)")
WORDS = ("", " ", "None", "none", "True", "../x", "a'b", 'a"b', "\x1b[2J", "x" * 300)
BOOLEANS = ("true", "false", "True", "0", "1", "yes", "2")

CHOICES: dict[str, tuple[str, ...]] = {
    "model.backbone.name": ("ResNet18", "ResNet34", "DenseNet121", "ResNet"),
    "model.backbone.width": WHOLE,
    "model.backbone.blocks": (*TUPLES, "(1, 1)", "(1,)*9", "(1, 1, 1, 1)", "(1, 1, 1, 1, 1)"),
    "model.backbone.growth": WHOLE,
    "model.head.name": ("Baseline", "SpaceAttention", "AttentionGated", "SqueezeExcitation", "x"),
    "model.head.pooling": ("max", "average", "lse", "max_average", "min"),
    "model.head.lse_r": REAL,
    "model.head.transition": ("none", "conv", "deconvolution", "deconv"),
    "model.head.window": WHOLE,
    "model.head.aggregation": ("concat", "mean", "deep_sup", "ft", "sum"),
    "model.sizes": TUPLES,
    "initial_weights": ("random", *WORDS),
    "frozen": ("('backbone',)", "('head',)", "('nose',)", *TUPLES),
    "data.image_size": ("32", "64", *WHOLE),
    "data.split": ("by_patient", "authors", "random"),
    "data.split_seed": WHOLE,
    "loss": ("weighted_cross_entropy", "focal_loss", "binary_cross_entropy", *WORDS),
    "label_smoothing": REAL,
    "optimizer.learning_rate": REAL,
    "optimizer.weight_decay": REAL,
    "optimizer.decoupled": BOOLEANS,
    "optimizer.drop_every": WHOLE,
    "optimizer.drop_factor": REAL,
    "optimizer.cosine": BOOLEANS,
    "optimizer.warmup_epochs": REAL,
    "optimizer.clip_norm": REAL,
    "augmentation.horizontal_flip": BOOLEANS,
    "augmentation.crop_scale": REAL,
    "augmentation.rotation": REAL,
    "augmentation.translation": REAL,
    "augmentation.intensity_shift": REAL,
    "ema_decay": REAL,
    "batch_size": WHOLE,
    "compute_dtype": ("float32", "bfloat16", "float16", *WORDS),
    "data_placement": ("streamed", "host", "device", *WORDS),
    "steps_per_dispatch": WHOLE,
    "epochs": WHOLE,
    "early_stopping.patience": WHOLE,
    "early_stopping.min_delta": REAL,
    "seed": WHOLE,
    "checkpoint_every": WHOLE,
    "keep_checkpoints": WHOLE,
    "nonfinite_patience": WHOLE,
    "debug_nonfinite": BOOLEANS,
}
"""What is tried for each setting; everything else is tried for each, too."""

EVERYTHING = (*WHOLE, *REAL, *TUPLES, *WORDS, "{}", "[]", "lambda: 1", "(" * 200, "9" * 5000)
KEYS = ("nonsense", "model", "model.backbone", "optimizer.learning_rat", "a.b.c", "", "seed.seed")


class StartedError(Exception):
    """The training has begun; all settings were accepted."""


class Data:
    """A prepared dataset from which nobody may read a batch."""

    facts: Mapping[str, Any] = {}

    def __init__(self, image_size: int) -> None:
        self.train = self.validation = DataSource(
            np.zeros((8, image_size, image_size, 1), np.uint8), np.zeros((8, 14), np.uint8)
        )


@dataclasses.dataclass(frozen=True)
class DataSource(cxr.ArraySplit):
    """Radiographs of which the first batch ends the trial."""

    def batches(self, *_: Any, **__: Any) -> Any:
        raise StartedError

    def epoch_rows(self, *_: Any) -> Any:
        raise StartedError

    def in_memory(self) -> DataSource:
        return self


def parse(words: list[str], path: Path) -> Any:
    """Returns the config that a program's words ask for.

    Raises:
        UserError: They are refused, as a program refuses them before it begins.
    """
    values = flags.FlagValues()
    argv = ["train.py", f"--config={path}", *words]
    before, sys.argv = (flags.FLAGS, sys.argv), argv
    flags.FLAGS = command_line.flags.FLAGS = values
    try:
        holder = config_flags.DEFINE_config_file("config", flag_values=values)
        command_line._parse(argv)
        return holder.value
    except SystemExit as error:
        raise UserError("refused by absl") from error
    finally:
        (flags.FLAGS, sys.argv) = before


def words_for(rng: Rng) -> list[str]:
    """Returns a few settings, some known and some not."""
    words = []
    for _ in range(rng.geometric(0.5)):
        name = list(CHOICES)[rng.integers(0, len(CHOICES))]
        choices = CHOICES[name] if rng.random() < 0.8 else EVERYTHING
        if rng.random() < 0.04:
            name = KEYS[rng.integers(0, len(KEYS))]
        words.append(f"--config.{name}={choices[rng.integers(0, len(choices))]}")
    return words


def wrong(words: list[str], config: Any) -> str | None:
    """Tells which accepted setting is other than its word, or no number to train with."""
    last = dict(word.removeprefix("--config.").split("=", 1) for word in words)
    for name, text in last.items():
        value = functools.reduce(lambda tree, key: tree[key], name.split("."), config)
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name}={text} is {value}"
        if isinstance(value, float) and value != float(text):
            return f"{name}={text} is {value}"
        if isinstance(value, int) and not isinstance(value, bool) and value != int(text, 0):
            return f"{name}={text} is {value}"
        if isinstance(value, str) and value != text:
            return f"{name}={text} is {value!r}"
    return None


def written(folder: Path) -> Path:
    """Writes the config that the words change; returns its path."""
    path = folder / "config.py"
    path.write_text(CONFIG)
    return path


def described(rng: Rng, folder: Path) -> Trial:
    """Settings up to the point where the network is described, its layers and their sizes."""
    words, path = words_for(rng), written(folder)

    def read() -> Any:
        experiment = Experiment.from_config(parse(words, path))
        count_parameters(experiment.model, experiment.config.data.image_size)
        return experiment.config

    return Trial("settings, described", read, functools.partial(wrong, words))


def started(rng: Rng, folder: Path) -> Trial:
    """Settings up to the first batch of the training."""
    words, path = words_for(rng), written(folder)

    def read() -> Any:
        config = parse(words, path)
        experiment = Experiment.from_config(config)
        try:
            experiment.train(Data(config.data.image_size), folder / "run")
        except StartedError:
            return config
        finally:
            jax.clear_caches()
        raise AssertionError("no batch was asked for")

    # The network is drawn by a compiled function before the first batch: that is work, no hang.
    return Trial("settings, training", read, functools.partial(wrong, words), limit_seconds=60)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {described: 9, started: 1}
"""How each kind of input is made, and how often."""
