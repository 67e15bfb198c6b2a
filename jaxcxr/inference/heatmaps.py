"""Heat maps with the place of their cells, as they travel from networks to images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

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
        columns = Grid(images.shape[2] - 1 - last, own.grid.stride)
        mean = _mean_of_maps([(own.values, own.grid, own.grid), (turned, own.grid, columns)])
        return (probabilities + mirrored_probabilities) / 2, mean

    return predict_twice


def size_averaged(predict_at: Mapping[int, PredictFn]) -> PredictFn:
    """Returns the mean over each radiograph at several sizes.

    Radiographs are resized bilinearly with antialiasing. Heat maps are averaged unscaled, each
    where its cells lie in the radiograph, at no more points than `flip_averaged` takes.

    Args:
        predict_at: Per height and width in pixels what predicts radiographs of that size.
    """

    def predict(images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        probabilities, maps = [], []
        for size, predict_resized in predict_at.items():
            own_probabilities, (values, own_grid) = predict_resized(_resized(images, size))
            grid = own_grid.scaled(images.shape[1] / size)
            probabilities.append(own_probabilities)
            maps.append((values, grid, grid))
        return np.mean(probabilities, axis=0), _mean_of_maps(maps)

    return predict


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    resized = [
        Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        for image in images[..., 0]
    ]
    return np.stack([np.asarray(image) for image in resized])[..., None]


def _mean_of_maps(maps: Sequence[tuple[np.ndarray, Grid, Grid]]) -> HeatMaps:
    """Averages maps (B, h, w, 14), each with the grids of its rows and its columns."""
    if len({grid for _, *grids in maps for grid in grids}) == 1:
        return HeatMaps(np.mean([values for values, *_ in maps], axis=0), maps[0][1])
    centers = [
        grid.centers(cells)
        for values, *grids in maps
        for grid, cells in zip(grids, values.shape[1:3], strict=True)
    ]
    start, end = min(each[0] for each in centers), max(each[-1] for each in centers)
    steps = min(math.ceil(end - start), _MOST_POINTS - 1)
    fine = Grid(start, (end - start) / steps)
    points = fine.centers(steps + 1)
    mean = np.zeros((), np.float32)
    for values, *grids in maps:
        down, across = (
            interpolation_matrix(grid.positions(points), cells).astype(np.float32)
            for grid, cells in zip(grids, values.shape[1:3], strict=True)
        )
        on_fine = np.einsum("bhwk,Hh,Ww->bHWk", values, down, across, optimize=True)
        mean = mean + on_fine / len(maps)
    return HeatMaps(mean, fine)
