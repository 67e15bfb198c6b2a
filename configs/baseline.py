"""ResNet-34 with the transition head, all layers trained (paper, section 4.1; Table 1, column 2).

jaxcxr train --config=baseline --data_dir=DIR --workdir=runs/baseline
"""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the paper's baseline, whose values are the defaults."""
    return default_config()
