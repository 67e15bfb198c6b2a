import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from jaxcxr.errors import UserError
from jaxcxr.evaluation import calibration
from jaxcxr.evaluation.calibration import at_prevalence, with_platt


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 10, 15]))
@settings(max_examples=50, deadline=None)
def test_calibration_error_bin_by_bin(seed, bins):
    rng = np.random.default_rng(seed)
    probabilities = rng.choice([0, 0.1, 1 / 3, 0.5, 0.9, 1, *rng.random(5)], size=60)
    labels = rng.integers(2, size=60)
    expected = 0.0
    for start in range(bins):
        in_bin = (probabilities * bins >= start) & (probabilities * bins < start + 1)
        if start == bins - 1:
            in_bin |= probabilities == 1
        if in_bin.any():
            distance = abs(probabilities[in_bin].mean() - labels[in_bin].mean())
            expected += in_bin.mean() * distance
    found = calibration.expected_calibration_error(labels, probabilities, bins)
    assert found == pytest.approx(expected, abs=1e-12)
    in_15 = calibration.expected_calibration_error(labels, probabilities, 15)
    assert calibration.expected_calibration_error(labels, probabilities) == in_15


def test_calibration_error_by_hand():
    # Two bins: 0.1, 0.3 with one finding in two (gap 0.3); 0.8 without (gap 0.8).
    labels, probabilities = np.array([0, 1, 0]), np.array([0.1, 0.3, 0.8])
    found = calibration.expected_calibration_error(labels, probabilities, bins=2)
    assert found == pytest.approx((2 * 0.3 + 1 * 0.8) / 3)
    diagram = calibration.reliability(labels, probabilities, bins=2)
    np.testing.assert_allclose(diagram.predicted, [0.2, 0.8])
    np.testing.assert_allclose(diagram.observed, [0.5, 0])
    np.testing.assert_array_equal(diagram.radiographs, [2, 1])


def test_brier_score_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(2, size=100), rng.random(100)
    expected = brier_score_loss(labels, probabilities)
    assert calibration.brier_score(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_nothing_to_calibrate_has_no_number():
    nothing = np.empty(0)
    assert np.isnan(calibration.brier_score(nothing, nothing))
    assert np.isnan(calibration.expected_calibration_error(nothing, nothing))


def test_platt_scaling_finds_slope_and_intercept():
    rng = np.random.default_rng(2)
    logits = rng.normal(scale=2, size=20_000).clip(-5, 5)
    labels = rng.random(20_000) < expit(logits)
    reported = expit((logits + 3) / 0.5)
    line = calibration.fit_platt(labels, reported)
    assert line == pytest.approx((0.5, -3), rel=0.06)
    regression = LogisticRegression(C=np.inf).fit((2 * (logits + 3))[:, None], labels)
    assert line.slope == pytest.approx(regression.coef_[0, 0], rel=1e-3)
    assert line.intercept == pytest.approx(regression.intercept_[0], rel=1e-3)
    scaled = calibration.with_platt(reported, *line)
    assert calibration.expected_calibration_error(labels, scaled) < 0.02
    assert scaled.mean() == pytest.approx(labels.mean(), abs=1e-4)


def test_platt_scaling_at_its_edges():
    labels, rising = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert calibration.fit_platt(labels, rising[::-1]).slope == pytest.approx(1 / 20)
    assert calibration.fit_platt(labels, np.array([0.4, 0.45, 0.55, 0.6])).slope == 20
    perfect = calibration.fit_platt(labels, np.array([0.0, 0.0, 1.0, 1.0]))
    scaled = calibration.with_platt(np.array([0.0, 1.0]), *perfect)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaled, [0, 1], atol=0.01)
    assert np.isnan(calibration.fit_platt(np.zeros(4), np.full(4, 0.2))).all()
    np.testing.assert_array_equal(calibration.with_platt(np.array([0.2]), np.nan, np.nan), [0.2])
    below_1 = np.nextafter(np.float32([0, 1]), np.float32([1, 0]))
    margin = np.finfo(np.float32).eps / 2
    np.testing.assert_allclose(calibration.with_platt(below_1, 1, 0), [margin, 1 - margin])


def test_prevalence_moves_the_intercept_as_bayes_rule_does():
    scores = np.linspace(-3, 3, 7)
    present, absent = norm.pdf(scores, 1), norm.pdf(scores, -1)  # of both populations

    def posterior(prevalence):
        return prevalence * present / (prevalence * present + (1 - prevalence) * absent)

    slope, intercept = 2.0, logit(0.3)  # log(present / absent) is 2 · score
    there = at_prevalence(intercept, 0.3, 0.01)
    np.testing.assert_allclose(with_platt(expit(scores), slope, intercept), posterior(0.3))
    np.testing.assert_allclose(with_platt(expit(scores), slope, there), posterior(0.01))
    for wrong in (0, 1, np.nan, -0.1):
        with pytest.raises(UserError, match="expected a number above 0 and below 1"):
            at_prevalence(intercept, 0.3, wrong)
