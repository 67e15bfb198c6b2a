"""Radiographs of any shape in a square, and boxes back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxcxr.inference.placement import fit_square

sides = st.integers(32, 400)


def test_square_is_only_resized():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    square, placement = fit_square(pixels, 64)
    resized = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(square, np.asarray(resized))
    np.testing.assert_array_equal(
        placement.to_original(np.array([[0, 0, 64, 64]])), [[0, 0, 300, 300]]
    )


@pytest.mark.parametrize(
    ("shape", "rows"), [((100, 200), slice(16, 48)), ((5, 5000), slice(31, 32))]
)
def test_wide_radiograph_lies_in_the_middle_of_black(shape, rows):
    square, _ = fit_square(np.full(shape, 200, np.uint8), 64)
    expected = np.zeros((64, 64))
    expected[rows] = 200
    np.testing.assert_array_equal(square, expected)


def test_tall_radiograph_lies_in_the_middle_of_black():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 120), np.uint8)
    tall, _ = fit_square(pixels, 64)
    wide, _ = fit_square(np.ascontiguousarray(pixels.T), 64)
    assert abs(tall.astype(int) - wide.T).max() <= 1


@given(width=sides, height=sides, size=sides, box=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_come_back(width, height, size, box):
    _, placement = fit_square(np.zeros((height, width), np.uint8), size)
    left, right = sorted((box[0] * width, box[1] * width))
    top, bottom = sorted((box[2] * height, box[3] * height))
    original = np.array([[left, top, right - left, bottom - top]])
    scale = np.array([placement.columns / width, placement.rows / height] * 2)
    in_square = original * scale + [placement.left, placement.top, 0, 0]
    np.testing.assert_allclose(placement.to_original(in_square), original, atol=1e-6)


@given(width=sides, height=sides, size=sides, box=st.tuples(*[st.floats(-500, 500)] * 4))
def test_boxes_are_clipped(width, height, size, box):
    _, placement = fit_square(np.zeros((height, width), np.uint8), size)
    x, y, w, h = placement.to_original(np.abs(np.array([box])) * [1, 1, 1, 1])[0]
    assert 0 <= x <= x + w <= width + 1e-9
    assert 0 <= y <= y + h <= height + 1e-9


def test_no_boxes():
    _, placement = fit_square(np.zeros((40, 50), np.uint8), 32)
    assert placement.to_original(np.zeros((0, 4))).shape == (0, 4)
