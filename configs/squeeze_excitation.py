"""Squeeze-and-excitation after each stage, then space attention: the authors' fourth network."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the settings of a network that is in the authors' code and not in the paper."""
    config = default_config()
    config.model.head.name = "SqueezeExcitation"
    config.optimizer.weight_decay = 1e-4
    return config
