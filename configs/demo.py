"""A small network that localizes, for minutes on two CPU cores. See `make demo`."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the settings of the demonstration; docs/localization.md says how they were found."""
    config = default_config()
    # Cells of this second stage see 67 pixels around them; with its second block they would see 99,
    # with a third stage 227: the complete radiograph from anywhere, so that the evidence may appear
    # anywhere (measured there).
    config.model.backbone.name = "ResNet18"
    config.model.backbone.width = 32
    config.model.backbone.blocks = (2, 1)
    config.model.head.name = "LogSumExp"
    config.model.head.stride = 4  # heat maps of 24×24
    config.model.head.decoder = "refined"
    config.initial_weights = "random"
    config.data.image_size = 96
    config.optimizer.learning_rate = 1e-3
    config.optimizer.cosine = True
    config.batch_size = 32
    config.augmentation.horizontal_flip = True
    config.epochs = 20
    config.early_stopping.patience = config.epochs
    return config
