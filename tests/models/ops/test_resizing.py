import numpy as np
import pytest

from jaxcxr.models.ops.resizing import resize_bilinear, resize_nearest

X = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)


def test_bilinear_keeps_the_corners_and_interpolates_between_them():
    y = np.asarray(resize_bilinear(X, (9, 11)))
    rows = np.stack([np.interp(np.linspace(0, 2, 9), range(3), column) for column in columns(X)])
    rows = rows.reshape(2, 5, 4, 9).transpose(0, 3, 1, 2)
    both = np.stack([np.interp(np.linspace(0, 4, 11), range(5), row) for row in lines(rows)])
    np.testing.assert_allclose(y, both.reshape(2, 9, 4, 11).transpose(0, 1, 3, 2), atol=1e-5)
    np.testing.assert_allclose(y[:, ::8, ::10], X[:, ::2, ::4], atol=1e-6)


def columns(x):
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def lines(x):
    return x.transpose(0, 1, 3, 2).reshape(-1, x.shape[2])


@pytest.mark.parametrize("size", [(3, 5), (6, 10), (7, 4), (1, 1)])
def test_nearest_takes_the_value_at_the_rounded_down_position(size):
    y = np.asarray(resize_nearest(X, size))
    for i, j in np.ndindex(size):
        np.testing.assert_array_equal(y[:, i, j], X[:, i * 3 // size[0], j * 5 // size[1]])


def test_one_position_is_spread_over_the_map():
    y = resize_bilinear(X[:, :1, :1], (4, 3))
    np.testing.assert_allclose(y, np.broadcast_to(X[:, :1, :1], (2, 4, 3, 4)), rtol=1e-6)
