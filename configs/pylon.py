"""ResNet-50 with PYLON's decoder, maps of 64×64 (Preechakul et al. 2020, arXiv 2010.11475)."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns the network and the recipe of the authors' code for NIH at 256 pixels.

    Values are those of github.com/cmb-chula/pylon (train_nih.py, utils/exp_base.py,
    data/transform.py). There half of the images are rotated, over black, half change their gray
    values, crops are stretched by up to 4/3, and the learning rate falls to a fifth when the
    validation loss has not fallen for more than one epoch, down to 1e-6, where training ends; here
    all are changed, crops stay square, and it follows a cosine over as many epochs.
    """
    config = default_config()
    config.model.backbone.name = "ResNet50"
    config.model.head.name = "Pylon"
    config.loss = "binary_cross_entropy"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.cosine = True
    config.batch_size = 64
    config.epochs = 40
    config.early_stopping.patience = config.epochs
    config.augmentation.horizontal_flip = True
    config.augmentation.crop_scale = 0.7
    config.augmentation.rotation = 90.0
    config.augmentation.intensity_shift = 0.5
    return config
