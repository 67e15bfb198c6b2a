import itertools

import jax
import numpy as np
import pytest

from jaxcxr.models.ops.pooling import global_max, max_pool

SHAPES = [(1, 1), (2, 3), (5, 4), (6, 6), (7, 1)]


def maps(shape):
    """Returns (2, *shape, 2) of few different values, so that windows hold equal maxima."""
    values = np.array([-1.5, -1.0, 0.0, 2.0, 3.25], np.float32)
    return np.random.default_rng(3).choice(values, (2, *shape, 2))


def windows(x, size):
    """Yields (row, column, positions of the window at stride 2; of 3×3 with padding 1)."""
    height, width = x.shape[1:3]
    for row, column in np.ndindex(-(-height // 2), -(-width // 2)):
        down, right = (range(2 * at - size // 3, 2 * at - size // 3 + size) for at in (row, column))
        places = itertools.product(down, right)
        yield row, column, [(i, j) for i, j in places if 0 <= i < height and 0 <= j < width]


def assert_pools(pool, x, expected, gradient):
    pooled, pull = jax.vjp(jax.jit(pool), x)
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(pull(np.ones_like(expected))[0], gradient)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_max_pool_and_its_gradient_against_brute_force(shape, size):
    x = maps(shape)
    expected = np.zeros((2, -(-x.shape[1] // 2), -(-x.shape[2] // 2), 2), np.float32)
    gradient = np.zeros_like(x)
    for image, channel in np.ndindex(2, 2):
        for row, column, positions in windows(x, size):
            first = max(positions, key=lambda p: x[image, p[0], p[1], channel])
            expected[image, row, column, channel] = x[image, first[0], first[1], channel]
            gradient[image, first[0], first[1], channel] += 1
    assert_pools(lambda x: max_pool(x, size), x, expected, gradient)


@pytest.mark.parametrize("shape", SHAPES)
def test_global_max_and_its_gradient_against_brute_force(shape):
    x = maps(shape)
    flat = x.reshape(2, -1, 2)
    gradient = np.zeros_like(flat)
    np.put_along_axis(gradient, flat.argmax(1)[:, None], 1, 1)
    assert_pools(global_max, x, flat.max(1), gradient.reshape(x.shape))
