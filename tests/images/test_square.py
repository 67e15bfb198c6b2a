"""Radiographs of any shape in a square, and places in the square back in the original."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.images.grid import PIXELS, Grid, interpolation_matrix
from jaxcxr.images.square import Square, make_square

SHAPES = [(300, 300), (250, 204), (100, 333)]


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_squashed_radiograph_fills_the_square(shape):
    pixels = noise(shape)
    square, placed = make_square(pixels, 64, "squash")
    resized = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(square, np.asarray(resized))
    assert placed == Square(shape[1], shape[0], 0, 0, 64, 64)


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((300, 300), slice(64), slice(64)),
        ((100, 200), slice(16, 48), slice(64)),
        ((250, 204), slice(64), slice(6, 58)),  # 52 of 64 columns
        ((5, 5000), slice(31, 32), slice(64)),
    ],
)
def test_padded_radiograph_lies_in_the_middle_of_black(shape, rows, columns):
    square, placed = make_square(np.full(shape, 200, np.uint8), 64, "pad")
    expected = np.zeros((64, 64))
    expected[rows, columns] = 200
    np.testing.assert_array_equal(square, expected)
    assert (placed.top, placed.left) == (rows.start or 0, columns.start or 0)


@pytest.mark.parametrize("rule", ["squash", "pad"])
@settings(deadline=None)
@given(
    width=st.integers(40, 300),
    height=st.integers(40, 300),
    left=st.floats(0, 0.6),
    top=st.floats(0, 0.6),
)
def test_places_in_the_square_are_found_in_the_original(rule, width, height, left, top):
    """The centroid of a bright rectangle in the square is mapped to that in the original."""
    x, y, w, h = int(left * width), int(top * height), width // 4 + 1, height // 4 + 1
    pixels = np.zeros((height, width), np.uint8)
    pixels[y : y + h, x : x + w] = 255
    square, placed = make_square(pixels, 128, rule)
    centroid = [np.average(np.arange(128), weights=square.sum(axis)) for axis in (0, 1)]
    columns, rows = placed.in_original(PIXELS, PIXELS)
    found = [
        grid.first_center + grid.stride * position
        for grid, position in zip((columns, rows), centroid, strict=True)
    ]
    # Antialiasing is cut off at the edges: a rectangle there moves by a part of a cell.
    tolerance = 0.6 * max(width, height) / 128
    np.testing.assert_allclose(found, [x + (w - 1) / 2, y + (h - 1) / 2], atol=tolerance)


def test_cropped_radiograph_keeps_the_middle_of_the_longer_side():
    pixels = np.zeros((120, 300), np.uint8)
    pixels[40:60, 120:160] = 255
    square, placed = make_square(pixels, 60, "crop")
    assert square.shape == (60, 60)
    assert (placed.left, placed.top, placed.columns, placed.rows) == (-45, 0, 150, 60)
    inner = square[3:-3, 3:-3]
    centroid = [3 + np.average(np.arange(54), weights=inner.sum(axis)) for axis in (0, 1)]
    found = [
        grid.first_center + grid.stride * position
        for grid, position in zip(placed.in_original(PIXELS, PIXELS), centroid, strict=True)
    ]
    np.testing.assert_allclose(found, [139.5, 49.5], atol=0.1)
    whole = placed.crop(square)
    assert whole.shape == (60, 150)
    np.testing.assert_array_equal(whole[:, 45:105], square)
    assert not whole[:, :45].any()


def test_cells_keep_their_place_and_distance():
    placed = Square.fit(2048, 2500, 256, "squash")
    columns, rows = placed.in_original(Grid(0, 32), Grid(14, 32))
    # Pixel 0 of 256 covers the columns 0 to 7 of 2048, whose middle is 3.5.
    assert columns == Grid(3.5, 256)
    assert rows == pytest.approx((14.5 * 2500 / 256 - 0.5, 312.5))


def test_unknown_rule_is_refused():
    with pytest.raises(UserError, match="square is 'tile'; use one of squash, pad, crop"):
        make_square(np.zeros((50, 50), np.uint8), 64, "tile")


def test_grid_is_indexed_strided_and_scaled_by_the_centers_of_its_cells():
    grid = Grid(3.5, 8.0)
    np.testing.assert_allclose(grid.positions(grid.centers(5)), np.arange(5))
    np.testing.assert_allclose(grid.strided(1, 2).centers(4), grid.centers(8)[1::2])
    border = Grid(-0.5, 2.0).scaled(3.0)
    assert border == Grid(-0.5, 6.0)  # the image's border stays where it is


def test_interpolation_matches_numpy():
    rng = np.random.default_rng(0)
    positions, values = rng.uniform(-2, 7, 50), rng.random(6)
    expected = np.interp(positions, np.arange(6), values)  # constant beyond the outermost centers
    np.testing.assert_allclose(interpolation_matrix(positions, 6) @ values, expected)
