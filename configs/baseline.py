"""ResNet-34, transition head, all layers trained (paper, section 4.1; Table 1, column 2)."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the paper's baseline, whose values are the defaults."""
    return default_config()
