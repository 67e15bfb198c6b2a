import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcxr.evaluation import boxes as geometry
from jaxcxr.evaluation.box_units import scale_boxes, unit_problem

SIZE = st.integers(1, 5000)


def frame(corners):
    names = [f"{row}.png" for row in range(len(corners))]
    return pd.DataFrame(corners, columns=[*"xywh"]).assign(image_name=names, finding="Mass")


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


@pytest.mark.parametrize(
    ("factors", "problem"),
    [
        ((1, 1), None),
        ((0.75, 0.75), "centers of boxes are at 0.75 (x) and 0.75 (y) times"),
        ((0.8, 0.4), "centers of boxes are at 0.8 (x) and 0.4 (y) times"),
        ((0.1, 0.1), "centers of boxes are at 0.1 (x)"),
        ((1.3, 1.2), "centers of boxes are at 1.3 (x)"),
        ((0.6, 1), None),
        ((1.3, 1.1), None),
        ((4, 1), "boxes end at 2.286 times the side"),
        ((1, 4), "boxes end at 3 times the side"),
    ],
)
def test_boxes_in_another_unit_are_recognized(factors, problem):
    annotated = frame([[100, 200, 100, 50], [10, 20, 110, 250], [50, 5, 20, 295]])
    predicted = scale_boxes(annotated, np.ones(2), np.array(factors))
    found = unit_problem(predicted.iloc[::-1], annotated, 350, 400)
    assert found is None if problem is None else found.startswith(problem)


def test_units_of_other_images_and_findings_are_not_compared():
    annotated = frame([[100, 200, 30, 40]])
    small = frame([[10, 20, 3, 4]])
    assert unit_problem(small, annotated, 300, 300)
    assert unit_problem(small.assign(finding="Edema"), annotated, 300, 300) is None
    assert unit_problem(small.assign(image_name="b.png"), annotated, 300, 300) is None
    assert unit_problem(small.iloc[:0], annotated, 300, 300) is None


@pytest.mark.parametrize("seed", range(10))
def test_poor_predictions_in_the_right_unit_give_no_problem(seed):
    rng = np.random.default_rng(seed)
    annotated, predicted = (frame(rng.uniform(1, 150, (60, 4))) for _ in range(2))
    assert unit_problem(predicted, annotated, 300, 300) is None
