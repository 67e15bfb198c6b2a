"""The paper's baseline at the size of the demonstration, to compare with. See `make demo`."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the settings of the demonstration's baseline."""
    config = default_config()
    # Three stages: 6×6 heat maps at 96 pixels. A fourth one would leave 3×3.
    config.model.backbone.name = "ResNet18"
    config.model.backbone.width = 32
    config.model.backbone.blocks = (2, 2, 2)
    config.initial_weights = "random"
    config.data.image_size = 96
    config.optimizer.learning_rate = 1e-3
    config.optimizer.cosine = True
    config.batch_size = 32
    config.epochs = 12
    config.early_stopping.patience = config.epochs
    return config
