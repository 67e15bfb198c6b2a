"""The networks: backbones, heads and the classifiers that they make together."""

from jaxcxr.models.backbones.backbone import Backbone
from jaxcxr.models.backbones.densenet import DenseNet121
from jaxcxr.models.backbones.resnet import ResNet18, ResNet34, ResNet50
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.heads import (
    PCAM,
    AttentionGated,
    Baseline,
    Head,
    LogSumExp,
    PooledMaps,
    Prediction,
    Pylon,
    SpaceAttention,
    SqueezeExcitation,
)
from jaxcxr.models.ops.normalization import INFERENCE, BatchNorm, Mode
from jaxcxr.models.ops.preprocessing import Pixels, normalize
from jaxcxr.models.registry import (
    backbones,
    build_classifier,
    classifier_config,
    heads,
    register_backbone,
    register_head,
)

__all__ = [
    "INFERENCE",
    "PCAM",
    "AttentionGated",
    "Backbone",
    "Baseline",
    "BatchNorm",
    "Classifier",
    "DenseNet121",
    "Head",
    "LogSumExp",
    "Mode",
    "Pixels",
    "PooledMaps",
    "Prediction",
    "Pylon",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "SpaceAttention",
    "SqueezeExcitation",
    "backbones",
    "build_classifier",
    "classifier_config",
    "heads",
    "normalize",
    "register_backbone",
    "register_head",
]
