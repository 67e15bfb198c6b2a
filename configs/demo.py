"""A small network on a phantom release, for minutes on two CPU cores. See `make demo`.

python launch/train.py --config configs/demo.py --data_dir DIR --workdir runs/demo
"""

import ml_collections

from jaxcxr.training.experiment import default_config


def get_config() -> ml_collections.ConfigDict:
    """Returns the settings of the demonstration."""
    config = default_config()
    config.model.backbone = ml_collections.ConfigDict({"name": "ResNet18", "width": 32})
    config.initial_weights = "random"
    config.data.image_size = 96
    config.optimizer.learning_rate = 1e-3
    config.batch_size = 32
    config.epochs = 8
    return config
