r"""A small network on a phantom release, for minutes on two CPU cores. See `make demo`.

python launch/train.py --config configs/demo.py --data_dir DIR \
    --workdir runs/demo
"""

from jaxcxr.training.experiment import Config, default_config


def get_config() -> Config:
    """Returns the settings of the demonstration."""
    config = default_config()
    config.model.backbone = {"name": "ResNet18", "width": 32}
    config.initial_weights = "random"
    config.data.image_size = 96
    config.optimizer.learning_rate = 1e-3
    config.batch_size = 32
    config.epochs = 8
    return config
