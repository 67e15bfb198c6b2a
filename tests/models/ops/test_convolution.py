"""The CPU's convolutions equal XLA's own, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcxr.models.ops.convolution import convolve

LAYOUT = ("NHWC", "HWIO", "NHWC")


def plain(x, kernel, stride, pad):
    pads = [(pad, pad)] * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=LAYOUT)


def ours(x, kernel, stride, pad):
    return convolve(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=LAYOUT)


@pytest.mark.parametrize(
    ("shape", "features", "size", "stride"),
    [
        ((2, 33, 31, 3), 8, 7, 2),  # the stem
        ((3, 16, 16, 8), 8, 3, 1),  # few channels
        ((6, 48, 48, 4), 4, 3, 1),  # row by row of large maps
        ((6, 9, 7, 8), 16, 3, 2),  # odd sides
        ((2, 8, 8, 256), 8, 3, 1),  # many channels
        ((8, 32, 32, 64), 64, 3, 1),  # by Winograd's way
        ((2, 5, 5, 8), 8, 1, 1),
        ((2, 5, 5, 8), 16, 1, 2),
        ((4, 2, 2, 8), 8, 3, 1),  # small maps
        ((4, 4, 4, 8), 16, 3, 2),  # from 4×4 to 2×2
        ((1, 1, 1, 8), 8, 3, 1),
        ((4, 4, 4, 64), 128, 3, 1),  # fewer positions than channels
        ((4, 8, 8, 64), 128, 3, 2),
        ((2, 12, 12, 128), 64, 1, 1),  # a large matrix at each position
    ],
    ids=str,
)
def test_equals_the_plain_convolution_and_its_gradients(shape, features, size, stride):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, shape[-1], features)), jnp.float32)

    def both(function):
        result, pull = jax.vjp(lambda x, kernel: function(x, kernel, stride, size // 2), x, kernel)
        weights = jnp.asarray(np.random.default_rng(1).normal(size=result.shape), jnp.float32)
        return result, *pull(weights)

    for mine, theirs in zip(jax.jit(lambda: both(ours))(), both(plain), strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(
            mine / scale, theirs / scale, atol=5e-6
        )  # sums of up to 2,304 terms


def test_bfloat16_is_rounded_once():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 16)), jnp.bfloat16)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 16, 8)), jnp.bfloat16)
    exact = plain(x.astype(jnp.float32), kernel.astype(jnp.float32), 1, 1)
    result = ours(x, kernel, 1, 1)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_array_equal(result, exact.astype(jnp.bfloat16))
    gradients = jax.grad(lambda x, k: ours(x, k, 1, 1).sum().astype(jnp.float32), (0, 1))(x, kernel)
    assert [gradient.dtype for gradient in gradients] == [jnp.bfloat16] * 2


def test_other_devices_keep_the_plain_convolution():
    x, kernel = jnp.zeros((1, 8, 8, 8)), jnp.zeros((3, 3, 8, 8))
    text = jax.jit(lambda: ours(x, kernel, 1, 1)).trace().lower(lowering_platforms=("cuda",))
    small = jax.jit(lambda: ours(x[:, :2, :2], kernel, 1, 1)).trace()
    assert "convolution" in text.as_text()
    assert "convolution" in small.lower(lowering_platforms=("cuda",)).as_text()
    assert "convolution" not in small.lower(lowering_platforms=("cpu",)).as_text()
