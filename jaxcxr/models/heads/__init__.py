"""The heads: from a backbone's feature maps to logits and heat maps."""

from jaxcxr.models.heads.baseline import Baseline
from jaxcxr.models.heads.prediction import Prediction

__all__ = ["Baseline", "Prediction"]
