"""Each file of configs/ is a whole experiment and opens with the command that runs it."""

import importlib.util
from pathlib import Path

import pytest

from jaxcxr.errors import UserError
from jaxcxr.models import BACKBONES, HEADS
from jaxcxr.models.config import part_config
from jaxcxr.training.experiment import Experiment, default_config

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


def test_every_field_of_every_network_is_a_setting():
    known = default_config().model
    for part, modules in (("backbone", BACKBONES), ("head", HEADS)):
        for module in modules.values():
            fields = set(part_config(module())) - {"num_classes"}
            assert fields <= set(known[part].keys())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"backbone": {"name": "ResNet18", "width": 0}}, "width is 0"),
        ({"backbone": {"name": "ResNet18", "blocks": (2, 0)}}, "blocks is"),
        ({"sizes": (64, 0)}, "sizes is"),
        ({"head": {"name": "SpaceAttention", "pooling": "max"}}, "pooling is no field"),
    ],
)
def test_networks_that_cannot_be_are_refused(model, message):
    config = default_config()
    config.model.update(model)
    with pytest.raises(UserError, match=message):
        Experiment.from_config(config)
