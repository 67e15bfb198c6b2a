"""The baseline head: transition layer, global pooling, prediction layer (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
from flax import linen as nn

from jaxcxr.models.heads.prediction import Prediction, class_activation_maps
from jaxcxr.models.initializers import uniform_fan_in
from jaxcxr.models.normalization import INFERENCE, Mode


class Baseline(nn.Module):
    """Transition layer, global pooling and one dense layer; heat maps are class activation maps.

    Attributes:
        num_classes: Number of findings.
        pooling: How the transition's feature maps become one vector.
        transition: ``"conv"`` is a 1×1 convolution.
    """

    num_classes: int = 14
    pooling: Literal["max"] = "max"
    transition: Literal["conv"] = "conv"

    @nn.compact
    def __call__(self, stages: Sequence[jax.Array], mode: Mode = INFERENCE) -> Prediction:
        """Reads the last stage's features (B, h, w, C); heat maps are (B, h, w, num_classes)."""
        x = stages[-1]
        x = nn.Conv(
            x.shape[-1], (1, 1), dtype=x.dtype, kernel_init=uniform_fan_in, name="transition"
        )(x)
        pooled = x.max((1, 2))
        classifier = nn.Dense(
            self.num_classes, dtype=x.dtype, kernel_init=uniform_fan_in, name="classifier"
        )
        logits = classifier(pooled)
        return Prediction(logits, class_activation_maps(x, classifier))
