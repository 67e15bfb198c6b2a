"""Where heat map cells lie, measured by which pixels reach them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr.models import Baseline, Classifier, DenseNet121, ResNet18
from jaxcxr.models.geometry import first_center, tile_image

IMAGE_SIZE = 512


def measured_first_center(model: Classifier) -> float:
    """Returns the centroid of the pixels that reach the middle cell, brought to the first cell."""
    shape = (1, IMAGE_SIZE, IMAGE_SIZE, 3)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
    variables = jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            jnp.full(leaf.shape, 1 / np.prod(leaf.shape[:-1]))
            if path[-1].key == "kernel"
            else jnp.full(leaf.shape, float(path[-1].key in ("scale", "var")))
        ),
        variables,
    )
    image = jnp.ones(shape)
    cells = jax.eval_shape(model.apply, variables, image).heatmaps.shape[1]
    middle = cells // 2

    @jax.jit
    @jax.grad
    def reach(image):
        return model.apply(variables, image).heatmaps[0, middle, middle, 0]

    weights = np.abs(reach(image)[0]).sum((1, 2))
    centroid = (weights * np.arange(IMAGE_SIZE)).sum() / weights.sum()
    return centroid - middle * IMAGE_SIZE / cells


@pytest.mark.parametrize("transition", ["none", "deconvolution"])
@pytest.mark.parametrize(
    "backbone",
    [
        ResNet18(blocks=(1, 1, 1, 1), width=2),
        DenseNet121(blocks=(1, 1, 1, 1), width=4, growth=2),
    ],
    ids=["resnet", "densenet"],
)
def test_first_center_is_where_the_pixels_say(backbone, transition):
    model = Classifier(backbone, Baseline(transition=transition))
    # Of equal maxima the stem's pooling favors the first, which moves the centroid by 2 pixels;
    # the transposed convolutions smear what is outside the image by as much again.
    assert abs(measured_first_center(model) - first_center(model)) < 6.5


def test_tiled_map_puts_a_spot_where_it_is():
    spot = np.zeros((1, 8, 8, 1), np.float32)
    spot[0, 3, 5] = 1  # centered on row 96, column 160 of 256
    tiled = np.asarray(tile_image(jnp.asarray(spot), 256, 0.0))[0, ..., 0]
    assert tiled.shape == (32, 32)
    pixels = (np.arange(32) + 0.5) * 8 - 0.5
    center = [(tiled.sum(axis) * pixels).sum() / tiled.sum() for axis in (1, 0)]
    np.testing.assert_allclose(center, [96, 160], atol=0.01)


def test_map_that_tiles_the_image_keeps_its_values_at_its_centers():
    heatmap = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 4, 3)))
    tiled = tile_image(heatmap, 64, 7.5)  # 16-pixel cells centered as tiles are
    columns = (tiled[:, :, 1::4] + tiled[:, :, 2::4]) / 2
    rows = (columns[:, 1::4] + columns[:, 2::4]) / 2
    smooth = np.asarray(rows)[:, 1:3, 1:3]
    # Fine cells lie 1/8 of a cell to either side: their mean is 7/8 of the value and 1/8 of its
    # neighbors' mean, along each axis.
    weights = np.array([[1, 14, 1, 0], [0, 1, 14, 1]]) / 16
    expected = np.einsum("bhwc,Hh,Ww->bHWc", heatmap, weights, weights)
    np.testing.assert_allclose(smooth, expected, rtol=1e-5)
