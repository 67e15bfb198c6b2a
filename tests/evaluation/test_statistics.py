import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from jaxcxr.evaluation import statistics


def radiographs(seed, count=60, patients=15, findings=3, levels=12):
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, findings)) < 0.4).astype(np.uint8)
    scores = (rng.integers(levels, size=(count, findings)) + 2 * labels) / levels
    return labels, scores, rng.integers(patients, size=count) * 10


@pytest.mark.parametrize("seed", range(5))
def test_bootstrap_is_the_auc_of_drawn_radiographs(seed):
    labels, scores, patients = radiographs(seed)
    replicates = statistics.bootstrap_aucs(labels, scores, patients, bootstraps=70, seed=seed)
    names = np.unique(patients)
    draws = statistics.draw_patients(len(names), 70, seed)
    for draw, replicate in zip(draws, replicates, strict=True):
        times = draw[np.searchsorted(names, patients)]
        chosen = np.repeat(np.arange(len(labels)), times)
        expected = [
            roc_auc_score(labels[chosen, finding], scores[chosen, finding])
            for finding in range(labels.shape[1])
        ]
        np.testing.assert_allclose(replicate, expected, atol=1e-12)


def test_draws_are_as_many_patients_as_there_are():
    draws = statistics.draw_patients(40, 500, seed=0)
    assert draws.shape == (500, 40)
    np.testing.assert_array_equal(draws.sum(axis=1), 40)
    assert abs(draws.mean(axis=0) - 1).max() < 0.2
    np.testing.assert_array_equal(draws, statistics.draw_patients(40, 500, seed=0))
    assert (draws != statistics.draw_patients(40, 500, seed=1)).any()


def test_draws_without_one_class_are_not_counted():
    labels, scores = np.array([[1], [0], [0]]), np.array([[0.9], [0.5], [0.1]])
    replicates = statistics.bootstrap_aucs(labels, scores, np.arange(3), bootstraps=200)
    known = replicates[~np.isnan(replicates)]
    assert 0 < len(known) < 200
    np.testing.assert_array_equal(known, 1)
    low, high = statistics.interval(replicates)
    np.testing.assert_array_equal([low, high], [[1], [1]])


def test_interval_holds_the_middle_of_the_replicates():
    replicates = np.column_stack([np.linspace(0, 100, 1001), np.full(1001, np.nan)])
    replicates[7, 0] = np.nan
    low, high = statistics.interval(replicates)
    np.testing.assert_allclose([low[0], high[0]], [2.5, 97.5], atol=0.2)
    assert np.isnan([low[1], high[1]]).all()


def test_interval_covers_the_truth():
    """A reduced form of benchmarks/coverage.py, which holds it to 93 to 97 %."""
    rng = np.random.default_rng(3)
    truth, hits, rounds = norm.cdf(1 / np.sqrt(2)), 0, 200
    for _ in range(rounds):
        patients = np.repeat(np.arange(120), 3)
        labels = np.repeat(rng.random(120) < 0.4, 3)
        habit = np.repeat(rng.normal(scale=np.sqrt(0.5), size=120), 3)
        scores = labels + habit + rng.normal(scale=np.sqrt(0.5), size=360)
        replicates = statistics.bootstrap_aucs(
            labels[:, None], scores[:, None], patients, bootstraps=200
        )
        low, high = statistics.interval(replicates)
        hits += low[0] <= truth <= high[0]
    assert 0.9 <= hits / rounds <= 0.98


def test_mean_of_known():
    values = np.array([[1, np.nan, 3], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(statistics.mean_of_known(values), [2, np.nan])


def test_delong_by_hand():
    # Placements of the positives: 1, 0.625, 1; of the negatives: 2/3, 2.5/3, 1, 1.
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.4, 0.7, 0.5, 0.4, 0.1, 0.3])
    (auc,), ((variance,),) = statistics.delong_covariance(labels, scores[:, None])
    assert auc == pytest.approx(0.875, abs=1e-12)
    assert variance == pytest.approx(0.09375 / 2 / 3 + (11 / 144) / 3 / 4, abs=1e-12)


def clustered_covariance(labels, scores, patients):
    """Obuchowski's formulas, patient by patient and pair by pair."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)

    def beats(one, other):
        return (scores[one] > scores[other]) + 0.5 * (scores[one] == scores[other])

    v10 = {i: np.mean([beats(i, j) for j in negatives], axis=0) for i in positives}
    v01 = {j: np.mean([beats(i, j) for i in positives], axis=0) for j in negatives}
    auc = np.mean(list(v10.values()), axis=0)
    names = np.unique(patients)
    zero = np.zeros_like(auc)
    t10 = {p: sum((v10[i] - auc for i in positives if patients[i] == p), zero) for p in names}
    t01 = {p: sum((v01[j] - auc for j in negatives if patients[j] == p), zero) for p in names}
    i10, i01 = (len(np.unique(patients[some])) for some in (positives, negatives))
    m, n, i = len(positives), len(negatives), len(names)
    s10 = i10 / ((i10 - 1) * m) * sum(np.outer(t10[p], t10[p]) for p in names)
    s01 = i01 / ((i01 - 1) * n) * sum(np.outer(t01[p], t01[p]) for p in names)
    s11 = i / (i - 1) * sum(np.outer(t10[p], t01[p]) for p in names)
    return auc, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


@pytest.mark.parametrize("seed", range(5))
def test_delong_pair_by_pair(seed):
    labels, scores, patients = radiographs(seed, levels=6)
    for clusters in (patients, np.arange(len(patients))):
        expected = clustered_covariance(labels[:, 0], scores, clusters)
        found = statistics.delong_covariance(labels[:, 0], scores, clusters)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-12)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-12)
    independent = statistics.delong_covariance(labels[:, 0], scores)
    np.testing.assert_allclose(independent[1], found[1], atol=1e-15)


def test_delong_test_by_its_definition():
    labels, scores, _ = radiographs(4)
    aucs, covariance = statistics.delong_covariance(labels[:, 0], scores[:, :2])
    contrast = np.array([1, -1])
    z = contrast @ aucs / np.sqrt(contrast @ covariance @ contrast)
    result = statistics.delong_test(labels[:, 0], scores[:, 0], scores[:, 1])
    np.testing.assert_allclose(
        result, [aucs[0], aucs[1], z, 2 * (1 - norm.cdf(abs(z)))], atol=1e-12
    )


def test_delong_test_at_its_edges():
    labels, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1])
    assert statistics.delong_test(labels, scores, scores**2).p_value == 1
    assert statistics.delong_test(labels, scores, -scores) == (1, 0, np.inf, 0)
    assert np.isnan(statistics.delong_test(labels[1:], scores[1:], -scores[1:]).p_value)
    aucs, covariance = statistics.delong_covariance(np.ones(4), scores[:, None])
    assert np.isnan(aucs).all()
    assert np.isnan(covariance).all()


def test_holm_by_hand():
    adjusted = statistics.holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_array_equal(statistics.holm(np.array([0.6, 0.7])), [1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=14))
@settings(max_examples=100, deadline=None)
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    p_values, alpha = np.array(p_values), 0.05
    adjusted = statistics.holm(p_values)
    rejected = np.zeros(len(p_values), bool)
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected[index] = True
    np.testing.assert_array_equal(adjusted <= alpha, rejected)
