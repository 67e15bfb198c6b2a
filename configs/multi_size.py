"""ResNet-34 at 128, 256 and 384 pixels, predictions averaged (Jun et al. 2018; paper, section 6).

jaxcxr train --config=multi_size --data_dir=DIR --workdir=runs/multi_size

DIR needs the release prepared with --image_size 384.
"""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the ensemble's settings; its batches of 12 are what the paper reports of it."""
    config = default_config()
    config.model.sizes = (128, 256, 384)
    config.data.image_size = 384
    config.batch_size = 12
    return config
