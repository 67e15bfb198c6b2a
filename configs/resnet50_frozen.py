"""ResNet-50, frozen, with the transition head: the reference paper (Table 1, column 1)."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the settings of Wang et al. 2017, as far as the paper gives them."""
    config = default_config()
    config.model.backbone.name = "ResNet50"
    config.frozen = ("backbone",)
    return config
