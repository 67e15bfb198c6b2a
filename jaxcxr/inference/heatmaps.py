"""Heat maps with the place of their cells, as they travel from networks to images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcxr.images.grid import Grid, interpolation_matrix

_MOST_POINTS = 256


class HeatMaps(NamedTuple):
    """Heat maps of a batch.

    Attributes:
        values: (B, h, w, F) float32, the network's findings in its order;
            unscaled, higher where the image supports the finding.
        grid: Where rows and columns lie, in pixels of the network's square input.
    """

    values: np.ndarray
    grid: Grid


PredictFn = Callable[[np.ndarray], tuple[np.ndarray, HeatMaps]]
"""Radiographs (B, S, S, 1) uint8 to probabilities (B, F) float32 and heat maps.

A `jaxcxr.Predictor` is one.
"""


def flip_averaged(predict: PredictFn) -> PredictFn:
    """Returns `predict` averaged over each radiograph and its mirror image.

    The probabilities' mean is that of the two logits' sigmoids. Heat maps are averaged in their own
    cells where those lie symmetrically in the image. Otherwise the cells of the two maps lie apart,
    and both are interpolated to at most 256 × 256 points, one a pixel in images of that size.
    """

    def predict_twice(images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        probabilities, own = predict(images)
        mirrored_probabilities, mirrored = predict(images[:, :, ::-1])
        turned = mirrored.values[:, :, ::-1]
        last = own.grid.centers(turned.shape[2])[-1]
        grid = Grid(images.shape[2] - 1 - last, own.grid.stride)
        mean = _mean_of_maps(own, HeatMaps(turned, grid))
        return (probabilities + mirrored_probabilities) / 2, mean

    return predict_twice


def _mean_of_maps(own: HeatMaps, turned: HeatMaps) -> HeatMaps:
    """Averages maps of which only the columns lie in different places."""
    if own.grid == turned.grid:
        return HeatMaps((own.values + turned.values) / 2, own.grid)
    height, width = own.values.shape[1:3]
    start = min(own.grid.first_center, turned.grid.first_center)
    span = max(own.grid.centers(width)[-1], turned.grid.centers(width)[-1]) - start
    steps = min(math.ceil(span), _MOST_POINTS - 1)
    fine = Grid(start, span / steps)

    def weights(grid: Grid, cells: int) -> np.ndarray:
        positions = grid.positions(fine.centers(steps + 1))
        return interpolation_matrix(positions, cells).astype(np.float32)

    rows = weights(own.grid, height)
    on_fine = [
        np.einsum("bhwk,Hh,Ww->bHWk", maps.values, rows, weights(maps.grid, width), optimize=True)
        for maps in (own, turned)
    ]
    return HeatMaps((on_fine[0] + on_fine[1]) / 2, fine)
