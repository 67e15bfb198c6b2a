import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcxr.evaluation import boxes as geometry
from jaxcxr.evaluation.box_units import boxes_extent, scale_boxes

SIZE = st.integers(1, 5000)


def frame(corners):
    return pd.DataFrame(corners, columns=[*"xywh"]).assign(finding="Mass")


@given(st.tuples(SIZE, SIZE), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_scaled_boxes_cover_the_same_part_of_the_image(size, seed):
    parts = np.random.default_rng(seed).random((5, 4))
    drawn_in = np.array(size)
    scaled = scale_boxes(frame(parts * [*size, *size]), drawn_in, np.array([1024, 768]))
    np.testing.assert_allclose(scaled[[*"xywh"]], parts * [1024, 768, 1024, 768], rtol=1e-12)
    assert list(scaled["finding"]) == ["Mass"] * 5
    each = scale_boxes(scaled, np.tile([1024, 768], (5, 1)), np.tile(drawn_in, (5, 1)))
    assert geometry.iou(each[[*"xywh"]].to_numpy(), parts * [*size, *size]) == pytest.approx(1)


def test_extent_is_that_of_the_farthest_edges():
    boxes = frame([[10, 20, 30, 40], [100, 5, 20, 10.5]])
    assert boxes_extent(boxes, 240, 100) == (120, 60, 0.6)
    assert boxes_extent(boxes.iloc[:0], 240, 100) is None
