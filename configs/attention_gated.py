"""ResNet-34 with attention gates (paper, sections 3.3 and 4.3; Table 1, column 4)."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the paper's attention gated experiment."""
    config = default_config()
    config.model.head.name = "AttentionGated"
    config.model.head.aggregation = "concat"
    config.batch_size = 32
    return config
