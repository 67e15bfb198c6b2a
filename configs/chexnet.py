"""DenseNet-121 at 224×224, binary cross-entropy, flips (CheXNet, Rajpurkar et al. 2017)."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns CheXNet's network and recipe for 14 findings."""
    config = default_config()
    config.model.backbone.name = "DenseNet121"
    config.model.head.pooling = "average"
    config.model.head.transition = "none"
    config.data.image_size = 224
    config.loss = "binary_cross_entropy"
    config.optimizer.learning_rate = 1e-3
    config.batch_size = 16
    config.augmentation.horizontal_flip = True
    return config
