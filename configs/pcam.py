"""ResNet-34 with PCAM pooling (Ye et al. 2020, arXiv 2005.14480): localization from labels."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the paper's network at 256 pixels.

    Loss (positives and negatives of a finding balanced in each batch), Adam's learning rate without
    weight decay, and augmentation are those of the authors' code for CheXpert (github.com/
    jfhealthcare/Chexpert: config/example_PCAM.json, bin/train.py, data/imgaug.py). It has a
    DenseNet-121 at 512 pixels, histograms equalized, batches of 24 and three epochs, the last at a
    tenth of the learning rate, and also zooms by 5 %. Its settings for NIH were not published with
    it, and the paper's could not be checked: batch size, epochs and early stopping are this
    study's.
    """
    config = default_config()
    config.model.head.name = "PCAM"
    config.loss = "weighted_cross_entropy_per_finding"
    config.optimizer.learning_rate = 1e-4
    config.augmentation.rotation = 15.0
    config.augmentation.translation = 0.05
    return config
