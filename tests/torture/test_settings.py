"""Settings of an experiment, each of its type and of any value."""

import math

import hypothesis.strategies as st
import jax
from hypothesis import given
from ml_collections import ConfigDict

from jaxcxr.runs.experiment import Experiment, default_config
from jaxcxr.training.state import count_parameters
from tests.torture.limits import campaign, read_or_refuse

TUPLES = ((), (1,), (1, 1, 1), (1, 1, 1, 1, 1), (0,), (-1, 2), (1, "a"), (64,), (1, 10**6))
NETWORKS = ("ResNet18", "DenseNet121", "Baseline", "SpaceAttention", "AttentionGated", "lse", "ft")
WORDS = ("", " ", "None", "../x", "a'b", 'a"b', "\x1b[2J", "x" * 300, "float32", "host", "9" * 5000)
VALUES = {
    bool: st.booleans(),
    int: st.integers() | st.integers(-1, 7),
    float: st.floats() | st.floats(0, 1),
    tuple: st.sampled_from(TUPLES),
    str: st.text() | st.sampled_from(WORDS + NETWORKS),
}
TINY = {
    "model.backbone.name": "ResNet18",
    "model.backbone.width": 4,
    "model.backbone.blocks": (1, 1, 1),
    "initial_weights": "random",
    "data.image_size": 32,
    "batch_size": 4,
}


def types_in(config: ConfigDict, place: str = ""):
    """Yields the name and the type of every setting."""
    for name in config:
        if config.get_type(name) in VALUES:
            yield place + name, config.get_type(name)
        elif isinstance(config[name], ConfigDict):
            yield from types_in(config[name], f"{place}{name}.")


TYPES = dict(types_in(default_config()))
SETTING = st.sampled_from(list(TYPES)).flatmap(
    lambda name: st.tuples(st.just(name), VALUES[TYPES[name]])
)


@campaign(0.09)
@given(st.lists(SETTING, min_size=1, max_size=3))
def test_settings_are_refused_or_describe_a_network(settings):
    """Up to the network's layers and their sizes; tests/cli/test_program.py parses the words."""
    config = default_config()
    config.update_from_flattened_dict(TINY | dict(settings))

    def describe():
        experiment = Experiment.from_config(config)
        count_parameters(experiment.model, experiment.config.data.image_size)
        jax.clear_caches()
        return True

    if read_or_refuse(describe, names=""):
        assert all(math.isfinite(value) for _, value in settings if isinstance(value, float))
