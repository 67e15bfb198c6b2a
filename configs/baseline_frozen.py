"""The baseline with the ImageNet backbone frozen (paper, section 4.1: worse, but faster)."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the baseline's settings with a frozen backbone."""
    config = default_config()
    config.frozen = ("backbone",)
    return config
