"""Winograd's convolution equals the plain one, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcxr.models.ops.cpu import winograd


def plain(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=layout)


def drawn(shape, features, seed=0):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(np.maximum(rng.normal(size=shape), 0), jnp.float32)
    kernel = rng.normal(size=(3, 3, shape[-1], features)) * (2 / 9 / shape[-1]) ** 0.5
    pull = rng.normal(size=(*shape[:3], features))
    return x, jnp.asarray(kernel, jnp.float32), jnp.asarray(pull, jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def with_gradients(function, x, kernel, pull):
    result, pull_back = jax.vjp(function, x, kernel)
    return result, *pull_back(pull)


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        ((2, 8, 8, 8), 8),
        ((3, 5, 7, 4), 6),  # tiles that reach beyond the map
        ((1, 1, 1, 3), 2),
        ((6, 64, 64, 2), 2),  # some images at a time
        ((5, 64, 64, 2), 3),  # a number of images that does not divide: one at a time
        ((1, 3, 14, 130), 70),
    ],
    ids=str,
)
def test_equals_the_plain_convolution_and_its_gradients(shape, features):
    arrays = drawn(shape, features)
    ours = with_gradients(winograd.convolve_3x3, *arrays)
    # Sums of the gradient run over as many as 24,576 places, in another order than the plain one's.
    for mine, theirs, bound in zip(ours, with_gradients(plain, *arrays), (1, 1, 4), strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=bound * 6e-6 * theirs.std() + 1e-7)


def test_rounding_is_of_the_documented_size():
    """The root mean square of the error, against double precision, is 5.7e-7 of the result's."""
    x, kernel, _ = drawn((4, 16, 16, 256), 64)
    padded = np.pad(np.asarray(x, np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
    exact = sum(
        padded[:, i : i + 16, j : j + 16] @ np.asarray(kernel[i, j], np.float64)
        for i in range(3)
        for j in range(3)
    )
    for function, documented in ((winograd.convolve_3x3, 5.7e-7), (plain, 2.8e-7)):
        error = np.sqrt(np.square(np.asarray(function(x, kernel), np.float64) - exact).mean())
        assert error < 1.1 * documented * exact.std()
