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
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.models import (
        PCAM,
        AttentionGated,
        Baseline,
        Classifier,
        DenseNet121,
        Head,
        LogSumExp,
        Mode,
        MultiSize,
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

_HOMES = {
    "BOXED_FINDINGS": "findings",
    "FINDINGS": "findings",
    "ArraySplit": "data.arrays",
    "Predictor": "inference.predictor",
    "AttentionGated": "models",
    "Head": "models",
    "Mode": "models",
    "register_backbone": "models",
    "register_head": "models",
    "BackupAndRestore": "runs.callbacks",
    "Baseline": "models",
    "Classifier": "models",
    "DenseNet121": "models",
    "LogSumExp": "models",
    "MultiSize": "models",
    "PCAM": "models",
    "PooledMaps": "models",
    "Prediction": "models",
    "Pylon": "models",
    "ResNet18": "models",
    "ResNet34": "models",
    "ResNet50": "models",
    "SpaceAttention": "models",
    "SqueezeExcitation": "models",
    "summary": "models.layer_table",
    "Augmentation": "training.augmentation",
    "CSVLogger": "training.callbacks",
    "Callback": "training.callbacks",
    "EarlyStopping": "training.callbacks",
    "ModelCheckpoint": "runs.callbacks",
    "TensorBoard": "training.callbacks",
    "Run": "training.fit",
    "fit": "runs.trained",
    "weighted_cross_entropy": "training.losses",
    "Adam": "training.optimizers",
    "adam": "training.optimizers",
}

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
    "MultiSize",
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
    "losses",
    "register_backbone",
    "register_head",
    "summary",
    "weighted_cross_entropy",
]


def __getattr__(name: str) -> Any:
    if name in ("data", "evaluation"):
        return importlib.import_module(f"jaxcxr.{name}")
    if name == "losses":
        return importlib.import_module("jaxcxr.training.losses")
    if name in _HOMES:
        return getattr(importlib.import_module(f"jaxcxr.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jaxcxr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
