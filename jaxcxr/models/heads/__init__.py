"""The heads: from a backbone's feature maps to logits and heat maps."""

from jaxcxr.models.heads.attention_gated import AttentionGated
from jaxcxr.models.heads.baseline import Baseline
from jaxcxr.models.heads.head import Head, Prediction
from jaxcxr.models.heads.space_attention import SpaceAttention
from jaxcxr.models.heads.squeeze_excitation import SqueezeExcitation

__all__ = [
    "AttentionGated",
    "Baseline",
    "Head",
    "Prediction",
    "SpaceAttention",
    "SqueezeExcitation",
]
