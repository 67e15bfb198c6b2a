"""The heads: from a backbone's feature maps to logits and heat maps."""

from jaxcxr.models.heads.attention_gated import AttentionGated
from jaxcxr.models.heads.baseline import Baseline
from jaxcxr.models.heads.head import Head, Prediction
from jaxcxr.models.heads.log_sum_exp import LogSumExp
from jaxcxr.models.heads.pcam import PCAM
from jaxcxr.models.heads.pooled_maps import PooledMaps
from jaxcxr.models.heads.pylon import Pylon
from jaxcxr.models.heads.space_attention import SpaceAttention
from jaxcxr.models.heads.squeeze_excitation import SqueezeExcitation

__all__ = [
    "PCAM",
    "AttentionGated",
    "Baseline",
    "Head",
    "LogSumExp",
    "PooledMaps",
    "Prediction",
    "Pylon",
    "SpaceAttention",
    "SqueezeExcitation",
]
