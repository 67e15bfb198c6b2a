"""Settings of an experiment, as words of the command line."""

import functools
import math
import sys

import hypothesis.strategies as st
import jax
import pytest
from absl import flags
from hypothesis import given
from ml_collections import config_flags
from ml_collections.config_dict import FieldReference

from jaxcxr.cli import program
from jaxcxr.errors import UserError
from jaxcxr.runs.experiment import Experiment, default_config
from jaxcxr.training.state import count_parameters
from tests.torture.limits import campaign, read_or_refuse

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

VALUES = {
    bool: ("true", "false", "True", "0", "1", "yes", "2"),
    int: ("0", "1", "2", "7", "-1", "10000000", "9999999999999", "0x10", "1_0", "٣"),
    float: ("0.5", "0.0", "1.0", "-0.1", "1e-3", "nan", "inf", "1e400", "1e-400", "1e38"),
    tuple: ("()", "(1,)", "(1, 1, 1)", "(1, 1, 1, 1, 1)", "(0,)", "(-1, 2)", "(1, 'a')", "(64,)"),
    str: (
        *("", " ", "None", "../x", "a'b", 'a"b', "\x1b[2J", "x" * 300, "float32", "host"),
        *("ResNet18", "DenseNet121", "Baseline", "SpaceAttention", "AttentionGated", "lse", "ft"),
    ),
    None: ("(1, 10**6)", "{}", "[]", "lambda: 1", "(" * 200, "9" * 5000),
}
UNKNOWN = (
    "nonsense",
    "model",
    "model.backbone",
    "optimizer.learning_rat",
    "a.b.c",
    "",
    "seed.seed",
)


def settings_in(config, place=""):
    """Returns every setting with the values of its type."""
    found = {}
    for name in config:
        kind = config.get_type(name)
        if kind in VALUES:
            found[place + name] = VALUES[kind]
        elif not isinstance(config[name], FieldReference):
            found |= settings_in(config[name], f"{place}{name}.")
    return found


KNOWN = settings_in(default_config())
ANY = [value for values in VALUES.values() for value in values]
SETTING = st.sampled_from(list(KNOWN)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(KNOWN[name]))
)
ODD = st.tuples(st.sampled_from([*KNOWN, *UNKNOWN]), st.sampled_from(ANY))


def parse(words, path):
    """Returns the config that a program's words ask for."""
    values = flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py", f"--config={path}", *words])
        patch.setattr(flags, "FLAGS", values)
        patch.setattr(program.flags, "FLAGS", values)
        holder = config_flags.DEFINE_config_file("config", flag_values=values)
        try:
            program._parse("train", sys.argv)
        except SystemExit as error:
            raise UserError("refused by absl") from error
        return holder.value


@campaign(0.09)
@given(st.lists(SETTING | SETTING | SETTING | ODD, min_size=1, max_size=4))
def test_settings_are_refused_or_taken_as_they_are_written(tmp_path, settings):
    """Up to the point where the network is described, its layers and their sizes."""
    path = tmp_path / "config.py"
    path.write_text(CONFIG)

    def describe():
        words = [f"--config.{name}={value}" for name, value in settings]
        experiment = Experiment.from_config(parse(words, path))
        count_parameters(experiment.model, experiment.config.data.image_size)
        jax.clear_caches()
        return experiment.config

    config = read_or_refuse(describe, names="", seconds=20)
    if config is None:
        return
    for name, text in dict(settings).items():
        value = functools.reduce(lambda tree, key: tree[key], name.split("."), config)
        assert not isinstance(value, float) or math.isfinite(value), name
        expected = {float: float, str: str, int: functools.partial(int, base=0)}.get(type(value))
        assert expected is None or value == expected(text), name
