"""The networks: backbones, heads and the classifiers that they make together."""

from jaxcxr.models.classifier import Classifier
from jaxcxr.models.config import BACKBONES, HEADS, build_classifier, classifier_config
from jaxcxr.models.densenet import DenseNet121
from jaxcxr.models.heads import (
    AttentionGated,
    Baseline,
    Head,
    Prediction,
    SpaceAttention,
    SqueezeExcitation,
)
from jaxcxr.models.multi_size import MultiSize
from jaxcxr.models.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.preprocessing import normalize
from jaxcxr.models.resnet import ResNet18, ResNet34, ResNet50

__all__ = [
    "BACKBONES",
    "HEADS",
    "INFERENCE",
    "AttentionGated",
    "Baseline",
    "BatchNorm",
    "Classifier",
    "DenseNet121",
    "Head",
    "Mode",
    "MultiSize",
    "Prediction",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "SpaceAttention",
    "SqueezeExcitation",
    "build_classifier",
    "classifier_config",
    "normalize",
]
