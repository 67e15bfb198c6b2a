"""Each file of configs/ is a whole experiment and opens with the command that runs it."""

import importlib.util
from pathlib import Path

import pytest

from jaxcxr.training.experiment import Experiment

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_an_experiment(path):
    module = load(path)
    experiment = Experiment.from_config(module.get_config())
    assert experiment.config.batch_size > 0
    assert f"--config configs/{path.name}" in module.__doc__
    assert f"--workdir runs/{path.stem}" in module.__doc__


def test_published_values():
    configs = {path.stem: load(path).get_config() for path in CONFIGS}
    for name in ("baseline", "space_attention", "attention_gated"):
        config = configs[name]
        assert config.optimizer.learning_rate == 1e-4
        assert config.epochs == 30
        assert config.early_stopping.patience == 3
        assert config.data.image_size == 256
        assert config.model.backbone.name == "ResNet34"
        assert config.initial_weights == "imagenet"
    assert configs["baseline"].batch_size == configs["space_attention"].batch_size == 128
    assert configs["attention_gated"].batch_size == 32
    assert configs["space_attention"].optimizer.weight_decay == 1e-4
    assert configs["space_attention"].optimizer.drop_every == 20
