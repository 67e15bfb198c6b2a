"""Test-time augmentation: a radiograph and its mirror image, looked at and averaged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PredictFn = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Radiographs (B, S, S, 1) uint8 to probabilities (B, 14) and heat maps (B, h, w, 14), float32.

A `Predictor` is one.
"""


def flip_averaged(look: PredictFn) -> PredictFn:
    """Returns `look` averaged over each radiograph and its mirror image.

    The probabilities' mean is that of the two logits' sigmoids; the mirror image's heat maps are
    mirrored back first.
    """

    def predict_twice(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, heatmaps = look(images)
        mirrored_probabilities, mirrored_heatmaps = look(images[:, :, ::-1])
        return (
            (probabilities + mirrored_probabilities) / 2,
            (heatmaps + mirrored_heatmaps[:, :, ::-1]) / 2,
        )

    return predict_twice
