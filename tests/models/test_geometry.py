"""Where heat map cells lie: measured by the gradient of a cell, and sampled as SciPy does."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from jaxcxr.models import (
    PCAM,
    AttentionGated,
    Baseline,
    Classifier,
    DenseNet121,
    LogSumExp,
    Pylon,
    ResNet18,
    ResNet50,
    SpaceAttention,
    SqueezeExcitation,
)
from jaxcxr.models.geometry import Grid, resample
from jaxcxr.models.heads import attention_gated

BACKBONES = {
    "ResNet18": ResNet18(blocks=(1, 1, 1, 1), width=2),
    "ResNet50": ResNet50(blocks=(1, 1, 1, 1), width=1),
    "DenseNet121": DenseNet121(blocks=(1, 1, 1, 1), width=4, growth=2),
    "dilated": ResNet18(blocks=(1, 1, 1, 1), width=2, output_stride=8),
}
HEADS = {
    "Baseline": Baseline(),
    "deconvolution": Baseline(transition="deconvolution"),
    "SpaceAttention": SpaceAttention(),
    "SqueezeExcitation": SqueezeExcitation(window=7),
    "AttentionGated": AttentionGated(),
    "mean": AttentionGated(aggregation="mean"),
    "deep_sup": AttentionGated(aggregation="deep_sup"),
    "ft": AttentionGated(aggregation="ft"),
    "PCAM": PCAM(),
    "LogSumExp": LogSumExp(stride=8, width=2),
    "LogSumExp refined": LogSumExp(stride=4, width=2, decoder="refined"),
    "Pylon": Pylon(width=2),
}
AGGREGATIONS = ("mean", "deep_sup", "ft")
CASES = [
    *itertools.product(BACKBONES, [head for head in HEADS if head not in AGGREGATIONS], (64, 75)),
    *itertools.product(BACKBONES, ("Baseline", "AttentionGated"), (300,)),
    *itertools.product(("ResNet18",), AGGREGATIONS, (75,)),
]
PARTS = {"gate2": ("gate3", "classifier"), "gate3": ("gate2", "classifier"), "coarse": ("gate",)}
"""Per map that the attention gated heat map is the mean of, the parameters that make the others."""


def narrow_kernel(path, leaf, silent):
    """Weights under which a cell sees only what its kernels' centers see.

    Any other kernels that are symmetric spread what a cell sees evenly around the same place.
    What brings in the whole image (contexts, PYLON's attention) or the misplaced coarse gating
    signal is left out.
    """
    names = [part.key for part in path]
    if names[-1] in ("scale", "var") or names[-3:] == ["conv1", "bn", "bias"]:
        return np.ones(leaf.shape, np.float32)
    if names[-1] != "kernel" or names[-2] in ("phi", "squeeze", "excite"):
        return np.zeros(leaf.shape, np.float32)
    if names[2] == "pyramid" and names[3] in ("conv1", "conv2", "conv3"):
        return np.zeros(leaf.shape, np.float32)
    if any(name.startswith(silent) for name in names) and names[-2] in ("psi", *names[1:2]):
        return np.zeros(leaf.shape, np.float32)
    kernel = np.zeros(leaf.shape, np.float32)
    if leaf.ndim == 2:
        kernel[:] = 1
    elif len(kernel) == 4:  # doubles the size: linear interpolation
        kernel[:] = np.multiply.outer([1, 3, 3, 1], [1, 3, 3, 1])[..., None, None]
    else:
        kernel[len(kernel) // 2, len(kernel) // 2] = 1
    if names[-2:] == ["conv", "kernel"] and names[-3] in ("head", "attention"):
        kernel[:, :, : leaf.shape[2] // 2] = 0  # the context
        kernel /= 64  # keeps probabilities away from 0 and 1
    return kernel / leaf.shape[-2]


def mirrored_pairs(size, center, rng, bright, pairs=4):
    """Returns random images (2 · pairs, S, S, 3): half of them mirror images of the others.

    So the maxima of the stem's pooling lie evenly around the center. `bright` rows and columns,
    centers of windows that have no mirror image, are brighter than all others.
    """
    image = rng.uniform(1, 2, (pairs, 3 * size + 1, 3 * size + 1, 3)).astype(np.float32)
    here = np.arange(size) + size
    there = np.rint(2 * center).astype(int) - np.arange(size) + size
    images = np.concatenate([image[:, at][:, :, at] for at in (here, there)])
    images[:, bright] += 2
    images[:, :, bright] += 2
    return images


@pytest.mark.parametrize(("backbone", "head", "size"), CASES)
def test_cells_lie_where_they_see(backbone, head, size, monkeypatch):
    monkeypatch.setattr(attention_gated, "unit_range", lambda maps: maps)
    model = Classifier(BACKBONES[backbone], HEADS[head])
    shape = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), shape)
    cells = jax.eval_shape(model.apply, shapes, shape).heatmaps.shape[1]
    centers = model.heatmap_grid.centers(cells)
    coarse = jax.eval_shape(lambda v, x: model.bind(v).backbone(x), shapes, shape)[-1].shape[1]
    first, *_, last = model.backbone.grids[-1].centers(coarse)
    # Beyond, maps end: what a cell sees, or what is sampled on the way to it, is cut off.
    bright = slice(0, None, 4) if head == "deconvolution" else slice(1)
    samples = head == "deconvolution" or getattr(model.head, "stride", None) is not None
    margin = 8 if samples else 0
    whole = np.flatnonzero((centers >= first + margin) & (centers <= last - margin))

    @jax.jit
    @jax.grad
    def sight(images, variables, cell):
        return model.apply(variables, images).heatmaps[:, cell, cell, 0].sum()

    for silent in PARTS.values() if isinstance(HEADS[head], AttentionGated) else [("none",)]:
        variables = jax.tree_util.tree_map_with_path(
            lambda path, leaf, silent=silent: narrow_kernel(path, leaf, silent), shapes
        )
        for cell in (whole[0], whole[-1]):
            images = mirrored_pairs(size, centers[cell], np.random.default_rng(cell), bright)
            seen = np.asarray(sight(images, variables, cell)).sum((0, 3))
            assert seen.min() >= 0
            for axis in (0, 1):
                center = np.average(np.arange(size), weights=seen.sum(1 - axis))
                assert center == pytest.approx(centers[cell], abs=0.5)


def test_maps_are_sampled_as_by_scipy():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 5, 7, 3)).astype(np.float32)
    source, target = Grid(14.0, 32.0), Grid(2.0, 8.0)
    sampled = resample(maps, source, target, (20, 30))
    points = np.meshgrid(2 + 8.0 * np.arange(20), 2 + 8.0 * np.arange(30), indexing="ij")
    points = [axis.clip(14, 14 + 32 * (n - 1)) for axis, n in zip(points, (5, 7), strict=True)]
    for image, channel in np.ndindex(2, 3):
        knots = [14 + 32.0 * np.arange(n) for n in (5, 7)]
        expected = RegularGridInterpolator(knots, maps[image, ..., channel])(tuple(points))
        np.testing.assert_allclose(sampled[image, ..., channel], expected, atol=1e-5)


def test_sampling_on_cells_takes_their_values():
    maps = np.random.default_rng(0).normal(size=(1, 19, 19, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        resample(maps, Grid(0, 4), Grid(0, 8), (10, 10)), maps[:, ::2, ::2]
    )
