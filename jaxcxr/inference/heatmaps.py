"""Heat maps with the place of their cells, as they travel from networks to images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcxr.images.grid import PIXELS, Grid, interpolation_matrix


class HeatMaps(NamedTuple):
    """Heat maps of a batch.

    Attributes:
        values: (B, h, w, 14) float32, findings in the order of `jaxcxr.findings.FINDINGS`;
            unscaled, higher where the image supports the finding.
        grid: Where rows and columns lie, in pixels of the network's square input.
    """

    values: np.ndarray
    grid: Grid


PredictFn = Callable[[np.ndarray], tuple[np.ndarray, HeatMaps]]
"""Radiographs (B, S, S, 1) uint8 to probabilities (B, 14) float32 and heat maps.

A `jaxcxr.Predictor` is one.
"""


def flip_averaged(predict: PredictFn) -> PredictFn:
    """Returns `predict` averaged over each radiograph and its mirror image.

    The probabilities' mean is that of the two logits' sigmoids. The cells of the mirror image's
    heat maps lie elsewhere: both maps are interpolated to the square's pixels and then averaged,
    (B, S, S, 14). Where cells are centered on pixels, this loses nothing.
    """

    def predict_twice(images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        size = images.shape[1]
        probabilities, heatmaps = predict(images)
        mirrored_probabilities, mirrored = predict(images[:, :, ::-1])
        mean = (_on_pixels(heatmaps, size) + _on_pixels(mirrored, size)[:, :, ::-1]) / 2
        return (probabilities + mirrored_probabilities) / 2, HeatMaps(mean, PIXELS)

    return predict_twice


def _on_pixels(heatmaps: HeatMaps, size: int) -> np.ndarray:
    positions = heatmaps.grid.positions(np.arange(size))
    rows, columns = (
        interpolation_matrix(positions, cells).astype(np.float32)
        for cells in heatmaps.values.shape[1:3]
    )
    return np.einsum("bhwk,Hh,Ww->bHWk", heatmaps.values, rows, columns, optimize=True)
