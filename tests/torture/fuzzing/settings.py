"""Settings of an experiment, as words of the command line."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags
from ml_collections.config_dict import FieldReference

from jaxcxr.cli import program as command_line
from jaxcxr.errors import UserError
from jaxcxr.runs.experiment import Experiment, default_config
from jaxcxr.training.state import count_parameters
from tests.torture.fuzzing.damage import Rng, pick
from tests.torture.fuzzing.trial import Trial

CONFIG = """
from jaxcxr.runs.experiment import default_config

def get_config():
    config = default_config()
    config.model.backbone.update(name="ResNet18", width=4, blocks=(1, 1, 1))
    config.initial_weights = "random"
    config.data.image_size = 32
    config.batch_size = 4
    return config
"""

WHOLE = ("0", "1", "2", "3", "7", "-1", "-7", "10000000", "9999999999999", "0x10", "1_0", "٣")
REAL = ("0.5", "0.0", "1.0", "-0.1", "1e-3", "nan", "inf", "-inf", "1e400", "1e-400", "1e38")
TUPLES = ("()", "(1,)", "(1, 1, 1)", "(1, 1, 1, 1, 1)", "(0,)", "(-1, 2)", "(1, 'a')", "(64,)")
WORDS = ("", " ", "None", "True", "../x", "a'b", 'a"b', "\x1b[2J", "x" * 300, "float32", "host")
BOOLEANS = ("true", "false", "True", "0", "1", "yes", "2")
OTHERS = ("(1, 10**6)", "{}", "[]", "lambda: 1", "(" * 200, "9" * 5000)
NETWORKS = ("ResNet18", "DenseNet121", "Baseline", "SpaceAttention", "AttentionGated", "lse", "ft")
UNKNOWN = (
    "nonsense",
    "model",
    "model.backbone",
    "optimizer.learning_rat",
    "a.b.c",
    "",
    "seed.seed",
)
VALUES = {bool: BOOLEANS, int: WHOLE, float: REAL, tuple: TUPLES, str: (*WORDS, *NETWORKS)}


@functools.cache
def known() -> dict[str, tuple[str, ...]]:
    """Returns every setting with values of its type."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(config: Any, place: str) -> None:
        for name in config:
            kind = config.get_type(name)
            if kind in VALUES:
                found[place + name] = VALUES[kind]
            elif not isinstance(config[name], FieldReference):
                walk(config[name], f"{place}{name}.")

    walk(default_config(), "")
    return found


def words_for(rng: Rng) -> list[str]:
    """Returns a few settings, some known and some not."""
    words = []
    for _ in range(rng.geometric(0.5)):
        name = pick(rng, UNKNOWN) if rng.random() < 0.04 else pick(rng, list(known()))
        usual = known().get(name, WHOLE)
        values = usual if rng.random() < 0.8 else (*WHOLE, *REAL, *TUPLES, *WORDS, *OTHERS)
        words.append(f"--config.{name}={pick(rng, values)}")
    return words


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
        command_line._parse("train", argv)
        return holder.value
    except SystemExit as error:
        raise UserError("refused by absl") from error
    finally:
        (flags.FLAGS, sys.argv) = before


def wrong(words: list[str], config: Any) -> str | None:
    """Returns which accepted setting differs from its word, or is not finite."""
    last = dict(word.removeprefix("--config.").split("=", 1) for word in words)
    for name, text in last.items():
        value = functools.reduce(lambda tree, key: tree[key], name.split("."), config)
        expected = {float: float, str: str, int: functools.partial(int, base=0)}.get(type(value))
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name}={text} is {value}"
        if expected is not None and value != expected(text):
            return f"{name}={text} is {value!r}"
    return None


def described(rng: Rng, folder: Path) -> Trial:
    """Settings up to the point where the network is described, its layers and their sizes."""
    words, path = words_for(rng), folder / "config.py"
    path.write_text(CONFIG)

    def read() -> Any:
        experiment = Experiment.from_config(parse(words, path))
        count_parameters(experiment.model, experiment.config.data.image_size)
        jax.clear_caches()
        return experiment.config

    return Trial("settings", read, functools.partial(wrong, words), limit_seconds=20)


KINDS: dict[Callable[[Rng, Path], Trial], float] = {described: 1}
"""How each kind of input is made, and how often."""
