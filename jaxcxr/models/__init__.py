"""The networks: backbones, heads and the classifiers that they make together."""

from jaxcxr.models.classifier import (
    BACKBONES,
    HEADS,
    Classifier,
    build_classifier,
    classifier_config,
)
from jaxcxr.models.heads import Baseline, Prediction
from jaxcxr.models.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.preprocessing import normalize
from jaxcxr.models.resnet import ResNet18, ResNet34, ResNet50

__all__ = [
    "BACKBONES",
    "HEADS",
    "INFERENCE",
    "Baseline",
    "BatchNorm",
    "Classifier",
    "Mode",
    "Prediction",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "build_classifier",
    "classifier_config",
    "normalize",
]
