"""Radiographs of any shape in a square, and boxes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcxr.evaluation.boxes import heatmap_boxes
from jaxcxr.images.square import fit_square


def test_square_is_only_resized():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    square, placement = fit_square(pixels, 64)
    resized = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(square, np.asarray(resized))
    heatmaps = np.random.default_rng(0).random((8, 8, 14))
    np.testing.assert_array_equal(placement.crop(heatmaps), heatmaps)


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


@settings(deadline=None)
@given(
    width=st.integers(40, 300),
    height=st.integers(40, 300),
    left=st.floats(0, 0.6),
    top=st.floats(0, 0.6),
)
def test_heat_comes_back_to_where_it_was(width, height, left, top):
    """A bright rectangle, taken for its own heat map, gets its box in the original's pixels."""
    x, y, w, h = int(left * width), int(top * height), width // 4 + 1, height // 4 + 1
    pixels = np.zeros((height, width), np.uint8)
    pixels[y : y + h, x : x + w] = 255
    square, placement = fit_square(pixels, 128)
    heatmap = placement.crop(square[..., None].astype(np.float64))[..., 0]
    (box,) = heatmap_boxes(heatmap, width, height, thresholds=[127]).boxes
    pixels_per_cell = max(width, height) / 128
    np.testing.assert_allclose(box, [x, y, w, h], atol=1 + 1.5 * pixels_per_cell)


def test_heat_beside_the_radiograph_does_not_count():
    _, placement = fit_square(np.zeros((100, 200), np.uint8), 64)
    heatmaps = np.zeros((8, 8, 2))
    heatmaps[0, 0] = 100  # over the black above the radiograph
    heatmaps[4, 6, 1] = 1
    cold, warm = placement.crop(heatmaps).transpose(2, 0, 1)
    assert cold.shape == (32, 64)
    assert not heatmap_boxes(cold, 200, 100).boxes.size
    x, y, w, h = heatmap_boxes(warm, 200, 100).boxes[0]
    assert x < 162.5 < x + w
    assert y < 62.5 < y + h
