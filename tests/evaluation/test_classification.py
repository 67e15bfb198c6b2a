import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from jaxcxr.errors import UserError
from jaxcxr.evaluation import classification

# Few distinct values make ties; the others are the ends of what a probability can be.
SCORES = st.sampled_from([0.0, 5e-324, 1e-300, 1e-7, 0.25, 0.5, 0.5 + 1e-16, 0.75, 1 - 1e-16, 1.0])


@st.composite
def labeled_scores(draw):
    scores = draw(st.lists(SCORES, min_size=2, max_size=40))
    labels = draw(st.lists(st.integers(0, 1), min_size=len(scores), max_size=len(scores)))
    labels[0], labels[1] = 0, 1
    return np.array(labels, np.uint8), np.array(scores)


@given(labeled_scores())
@settings(max_examples=200, deadline=None)
def test_equals_scikit_learn_on_ties_and_extremes(case):
    labels, scores = case
    assert classification.auc(labels, scores) == pytest.approx(
        metrics.roc_auc_score(labels, scores), abs=1e-12
    )
    assert classification.average_precision(labels, scores) == pytest.approx(
        metrics.average_precision_score(labels, scores), abs=1e-12
    )
    for mine, theirs in zip(
        classification.roc_points(labels, scores), metrics.roc_curve(labels, scores), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


@given(labeled_scores())
@settings(max_examples=100, deadline=None)
def test_auc_is_the_part_of_pairs_in_order(case):
    labels, scores = case
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    wins = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert classification.auc(labels, scores) == pytest.approx(wins, abs=1e-12)
    rates = classification.roc_points(labels, scores)
    assert np.trapezoid(rates[1], rates[0]) == pytest.approx(wins, abs=1e-12)


@given(labeled_scores())
@settings(max_examples=100, deadline=None)
def test_rates_are_those_of_scikit_learn(case):
    labels, scores = case
    threshold = float(np.median(scores))
    called = scores >= threshold
    rates = classification.rates_at(labels, scores, threshold)
    assert rates.sensitivity == pytest.approx(metrics.recall_score(labels, called))
    assert rates.specificity == pytest.approx(metrics.recall_score(labels, called, pos_label=0))
    assert rates.f1 == pytest.approx(metrics.f1_score(labels, called))


@given(labeled_scores())
@settings(max_examples=100, deadline=None)
def test_youden_is_the_best_threshold(case):
    labels, scores = case

    def youden(threshold):
        rates = classification.rates_at(labels, scores, threshold)
        return rates.sensitivity + rates.specificity

    chosen = classification.youden_threshold(labels, scores)
    best = max(youden(threshold) for threshold in [*scores, np.inf])
    assert youden(chosen) == pytest.approx(best)


def printed_and_read(scores):
    """Returns probabilities as a CSV file has them: in float32's short spelling, as float64."""
    return np.array([float(str(score)) for score in scores])


@st.composite
def labeled_float32(draw):
    """Labels and float32 probabilities: ties, neighbors of each other, saturation at 0 and 1."""
    values = draw(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=6))
    values += [np.nextafter(np.float32(value), np.float32(1)) for value in values]
    scores = draw(st.lists(st.sampled_from([*values, 0.0, 1.0]), min_size=2, max_size=40))
    labels = draw(st.lists(st.integers(0, 1), min_size=len(scores), max_size=len(scores)))
    labels[:2] = 0, 1
    return np.array(labels, np.uint8), np.array(scores, np.float32)


@given(labeled_float32() | labeled_scores(), st.floats(0.001, 1) | st.sampled_from([0.5, 0.9, 1.0]))
@settings(max_examples=300, deadline=None)
def test_fixed_specificity_holds_and_no_lower_threshold_has_it(case, specificity):
    labels, scores = case
    threshold = classification.threshold_at_specificity(labels, scores, specificity)
    absent = labels == 0
    for same in (scores, scores.astype(np.float64), printed_and_read(scores)):
        assert np.mean(same[absent] < np.float64(threshold)) >= specificity
        assert classification.rates_at(labels, same, threshold).specificity >= specificity
    single = scores[absent].astype(np.float32)
    lower = [candidate for candidate in (0, *single) if candidate < threshold]
    assert all(np.mean(single < candidate) < specificity for candidate in lower)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_number(label):
    labels, scores = np.full(5, label), np.linspace(0, 1, 5)
    assert np.isnan(classification.auc(labels, scores))
    assert np.isnan(classification.average_precision(labels, scores))
    assert np.isnan(classification.youden_threshold(labels, scores))
    assert np.isnan(classification.threshold_at_specificity(labels, scores, 0.9))
    assert [len(points) for points in classification.roc_points(labels, scores)] == [0, 0, 0]
    rates = classification.rates_at(labels, scores, 0.5)
    assert np.isnan(rates.specificity if label else rates.sensitivity)
    assert np.isnan(classification.rates_at(labels, scores, np.nan)).all()
    assert np.isnan(classification.auc(np.empty(0), np.empty(0)))


def test_impossible_specificity_is_refused():
    with pytest.raises(UserError, match=r"specificity is 90\.0"):
        classification.threshold_at_specificity(np.array([0, 1]), np.array([0.1, 0.2]), 90.0)
