"""ResNet-34 with PCAM pooling (Ye et al. 2020, arXiv 2005.14480): localization from labels."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the paper's network at 256 pixels.

    Loss, learning rate and augmentation are those of the authors' code (github.com/jfhealthcare/
    Chexpert, config/example_PCAM.json and data/imgaug.py), which trains at 512 pixels; batch size,
    epochs and early stopping are this study's.
    """
    config = default_config()
    config.model.head.name = "PCAM"
    config.loss = "binary_cross_entropy"
    config.optimizer.learning_rate = 1e-4
    config.augmentation.rotation = 15.0
    config.augmentation.translation = 0.05
    return config
