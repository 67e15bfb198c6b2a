"""jaxcxr: weakly supervised chest X-ray classification and localization in JAX and Flax.

The names that most programs need:

    import jaxcxr as cxr

    data = cxr.data.load("~/tensorflow_datasets", image_size=256)
    model = cxr.Classifier(cxr.ResNet34(), cxr.Baseline())
    run = cxr.fit(model, data.train, validation_data=data.validation)

They are imported on first use: `import jaxcxr` alone imports no other package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jaxcxr.errors import UserError

if TYPE_CHECKING:
    from jaxcxr import data, evaluation
    from jaxcxr.data.arrays import ArraySplit
    from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
    from jaxcxr.inference.predictor import Predictor, load_model
    from jaxcxr.models import (
        PCAM,
        AttentionGated,
        Baseline,
        Classifier,
        DenseNet121,
        Head,
        LogSumExp,
        Mode,
        PooledMaps,
        Prediction,
        Pylon,
        ResNet18,
        ResNet34,
        ResNet50,
        SpaceAttention,
        SqueezeExcitation,
        register_backbone,
        register_head,
    )
    from jaxcxr.models.layer_table import summary
    from jaxcxr.runs.callbacks import BackupAndRestore, ModelCheckpoint
    from jaxcxr.training import losses
    from jaxcxr.training.augmentation import Augmentation
    from jaxcxr.training.callbacks import (
        Callback,
        CSVLogger,
        EarlyStopping,
        TensorBoard,
    )
    from jaxcxr.training.fit import Run, fit  # `runs.trained.fit` has its signature
    from jaxcxr.training.losses import weighted_cross_entropy
    from jaxcxr.training.optimizers import Adam, adam

_NAMES = {
    "data": "data",
    "evaluation": "evaluation",
    "data.arrays": "ArraySplit",
    "findings": "BOXED_FINDINGS FINDINGS",
    "inference.predictor": "Predictor load_model",
    "models.layer_table": "summary",
    "runs.callbacks": "BackupAndRestore ModelCheckpoint",
    "runs.trained": "fit",
    "training.augmentation": "Augmentation",
    "training.callbacks": "CSVLogger Callback EarlyStopping TensorBoard",
    "training.fit": "Run",
    "training.losses": "losses weighted_cross_entropy",
    "training.optimizers": "Adam adam",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
"""The modules of all names but those of `jaxcxr.models`."""

__all__ = [
    "BOXED_FINDINGS",
    "FINDINGS",
    "PCAM",
    "Adam",
    "ArraySplit",
    "AttentionGated",
    "Augmentation",
    "BackupAndRestore",
    "Baseline",
    "CSVLogger",
    "Callback",
    "Classifier",
    "DenseNet121",
    "EarlyStopping",
    "Head",
    "LogSumExp",
    "Mode",
    "ModelCheckpoint",
    "PooledMaps",
    "Prediction",
    "Predictor",
    "Pylon",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "Run",
    "SpaceAttention",
    "SqueezeExcitation",
    "TensorBoard",
    "UserError",
    "adam",
    "data",
    "evaluation",
    "fit",
    "load_model",
    "losses",
    "register_backbone",
    "register_head",
    "summary",
    "weighted_cross_entropy",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'jaxcxr' has no attribute {name!r}")
    home = _HOMES.get(name, "models")
    module = importlib.import_module(f"jaxcxr.{home}")
    return module if home.endswith(name) else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
