"""ResNet-34 with space attention (paper, sections 3.2 and 4.2; Table 1, column 3)."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the paper's space attention experiment."""
    config = default_config()
    config.model.head.name = "SpaceAttention"
    config.optimizer.weight_decay = 1e-4
    config.optimizer.drop_every = 20
    return config
