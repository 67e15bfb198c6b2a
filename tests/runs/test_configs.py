"""Each file of configs/ is a complete experiment and opens with the command that runs it."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.errors import UserError
from jaxcxr.models import backbones, heads
from jaxcxr.models.registry import part_config
from jaxcxr.runs.experiment import Experiment, default_config
from jaxcxr.training.optimizers import Adam

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


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
    for part, modules in (("backbone", backbones()), ("head", heads())):
        for module in modules.values():
            fields = set(part_config(module())) - {"num_classes"}
            assert fields <= set(known[part].keys())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"backbone": {"name": "ResNet18", "width": 0}}, "width is 0"),
        ({"backbone": {"name": "ResNet18", "blocks": (2, 0)}}, "blocks is"),
        ({"backbone": {"name": "ResNet18", "blocks": ()}}, "blocks is"),
        ({"backbone": {"name": "ResNet18", "blocks": (1, "a")}}, "blocks is"),
        ({"backbone": {"name": "ResNet18", "blocks": (1, 10**6)}}, "blocks is"),
        ({"backbone": {"name": "ResNet18", "blocks": (1,) * 5}}, "expected 1 to 4 stages"),
        (
            {
                "backbone": {"name": "ResNet18", "blocks": (1, 1)},
                "head": {"name": "AttentionGated"},
            },
            "AttentionGated reads 3 stages",
        ),
        ({"head": {"name": "Baseline", "lse_r": float("nan")}}, "lse_r is nan"),
        ({"head": {"name": "SpaceAttention", "pooling": "max"}}, "pooling is not a field"),
    ],
)
def test_networks_that_cannot_be_are_refused(model, message):
    config = default_config()
    config.model.update(model)
    with pytest.raises(UserError, match=message):
        Experiment.from_config(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, r"config\.epoch is not a setting; did you mean epochs\?"),
        ({"optimizer": {"rate": 3}}, r"config\.optimizer\.rate is not a setting.*learning_rate"),
        ({"data": {"size": 3}}, r"config\.data\.size is not a setting"),
        ({"model": {"dropout": 0.5}}, r"config\.model\.dropout is not a setting"),
    ],
)
def test_names_that_are_no_settings_are_refused(change, message):
    config = default_config()
    config.update(change)
    with pytest.raises(UserError, match=message):
        Experiment.from_config(config)


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("model", {"backbone": "ResNet18"}, r"did you mean model\.backbone\.name\?"),
        (
            "model",
            {"backbone": {"name": "ResNet18", "width": "4"}},
            r"model\.backbone\.width is '4'; expected int",
        ),
        ("data", {"image_size": 64.0}, r"data\.image_size is 64\.0; expected int"),
        ("optimizer", {"learning_rate": "1e-4"}, r"learning_rate is '1e-4'; expected float"),
        ("optimizer", {"learning_rate": np.float32(1)}, r"learning_rate is .*; expected float"),
        ("augmentation", {"horizontal_flip": "no"}, r"horizontal_flip is 'no'; expected bool"),
        ("early_stopping", {"patience": None}, r"patience is None; expected int"),
    ],
)
def test_values_of_other_types_are_refused(section, value, message):
    config = default_config()
    with config.ignore_type():
        config[section] = {**config[section].to_dict(), **value}
    with pytest.raises(UserError, match=message):
        Experiment.from_config(config)


def test_whole_numbers_lists_and_parts_of_sections_will_do():
    config = default_config()
    config.optimizer = {"learning_rate": 1}  # the others have their defaults
    config.model = {
        "backbone": {"name": "ResNet18", "blocks": [1, 1]},
        "head": {"name": "Baseline"},
    }
    experiment = Experiment.from_config(config)
    assert experiment.optimizer == Adam(1)
    assert experiment.model.backbone.blocks == (1, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(f"optimizer.{name}", math.nan) for name in ("learning_rate", "drop_factor")],
        *[(f"optimizer.{name}", math.inf) for name in ("weight_decay", "warmup_epochs")],
        ("optimizer.clip_norm", math.inf),
        ("augmentation.rotation", math.nan),
        ("augmentation.crop_scale", math.nan),
        ("early_stopping.min_delta", -0.1),
        ("label_smoothing", math.nan),
        ("ema_decay", math.inf),
        ("epochs", 0),
        ("epochs", 2**31),
        ("batch_size", -1),
        ("seed", 2**40),
        ("compute_dtype", "float16"),
        ("data_placement", "nowhere"),
        ("loss", "hinge"),
        ("metrics", ("roc",)),
        ("data.image_size", -1),
        ("data.split", "random"),
        ("initial_weights", ""),
    ],
)
def test_values_that_cannot_be_are_refused_before_any_data_is_read(name, value):
    config = default_config()
    config.update_from_flattened_dict({name: value})
    with pytest.raises(UserError, match=name.rpartition(".")[2]):
        Experiment.from_config(config)
