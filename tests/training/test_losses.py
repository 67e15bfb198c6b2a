"""Eq. (1) against float64 NumPy, and its edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from jaxcxr.training.losses import (
    binary_cross_entropy,
    focal_loss,
    weighted_cross_entropy,
    weighted_cross_entropy_per_finding,
)


def equation_1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Eq. (1) as printed, in float64; −ln p and −ln(1 − p) by logaddexp."""
    logits = logits.astype(np.float64)
    positives, negatives = (labels == 1).sum(), (labels == 0).sum()
    total = positives + negatives
    loss = 0.0
    if positives:
        loss += total / positives * np.logaddexp(0, -logits[labels == 1]).sum()
    if negatives:
        loss += total / negatives * np.logaddexp(0, logits[labels == 0]).sum()
    return loss / len(labels)


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 9),
    prevalence=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    scale=st.sampled_from([0.1, 3.0, 50.0, 1e4]),
)
@settings(max_examples=60, deadline=None)
def test_equals_equation_1_and_has_a_finite_gradient(seed, rows, prevalence, scale):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.standard_normal((16, 14))).clip(-1e4, 1e4).astype(np.float32)
    labels = (rng.random((16, 14)) < prevalence).astype(np.uint8)
    mask = np.arange(16) < rows
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(logits, labels, mask)
    expected = equation_1(logits[:rows], labels[:rows])
    np.testing.assert_allclose(loss, expected, rtol=2e-6)
    assert np.isfinite(gradient).all()
    assert (gradient[rows:] == 0).all()


def test_all_findings_share_one_positive_count():
    logits = jnp.zeros((2, 2))
    labels = jnp.array([[1, 1], [1, 0]])
    # β_P = 4/3 over three terms, β_N = 4 over one, each −ln ½; two images.
    np.testing.assert_allclose(weighted_cross_entropy(logits, labels), 8 * np.log(2) / 2, rtol=1e-6)


def test_unknown_labels_take_no_part():
    logits, labels = batch()
    rng = np.random.default_rng(1)
    unknown = rng.random(labels.shape) < 0.3
    unknown[3], unknown[:, 5] = True, True  # a radiograph and a finding without any known label
    labels = np.where(unknown, np.nan, labels).astype(np.float32)
    other_logits = np.where(unknown, 7.0, logits)
    mask = np.arange(32) < 30
    for loss in (
        weighted_cross_entropy,
        weighted_cross_entropy_per_finding,
        binary_cross_entropy,
        focal_loss,
    ):
        value, gradient = jax.value_and_grad(loss)(logits, labels, mask)
        assert np.isfinite(value)
        assert value == loss(other_logits, labels, mask)
        assert (gradient[unknown] == 0).all()
        assert (gradient[:30][~unknown[:30]] != 0).all()
    eq1 = equation_1(logits[:30], labels[:30])
    np.testing.assert_allclose(weighted_cross_entropy(logits, labels, mask), eq1, rtol=2e-6)
    per_finding = sum(equation_1(logits[:30, [k]], labels[:30, [k]]) for k in range(14))
    np.testing.assert_allclose(
        weighted_cross_entropy_per_finding(logits, labels, mask), per_finding, rtol=2e-6
    )


@pytest.mark.parametrize("loss", [weighted_cross_entropy, weighted_cross_entropy_per_finding])
def test_float_labels_give_the_bits_of_integer_labels(loss):
    logits, labels = batch()
    integers = jax.jit(jax.value_and_grad(loss))(logits, labels)
    floats = jax.jit(jax.value_and_grad(loss))(logits, labels.astype(np.float32))
    np.testing.assert_array_equal(integers[0], floats[0])
    np.testing.assert_array_equal(integers[1], floats[1])


def batch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        (3 * rng.standard_normal((32, 14))).astype(np.float32),
        (rng.random((32, 14)) < 0.2).astype(np.uint8),
    )


def test_per_finding_weights_are_equation_1_of_each_column():
    logits, labels = batch()
    expected = sum(equation_1(logits[:, [k]], labels[:, [k]]) for k in range(14))
    np.testing.assert_allclose(
        weighted_cross_entropy_per_finding(logits, labels), expected, rtol=1e-5
    )


def test_binary_cross_entropy_is_that_of_scikit_learn():
    logits, labels = batch()
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = sum(log_loss(labels[:, k], probabilities[:, k], labels=[0, 1]) for k in range(14))
    np.testing.assert_allclose(binary_cross_entropy(logits, labels), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "alpha", "gamma", "smoothing"),
    [({}, 0.25, 2, 0), ({"alpha": 0.6, "gamma": 1.5, "label_smoothing": 0.2}, 0.6, 1.5, 0.2)],
)
def test_focal_loss_is_its_definition(settings, alpha, gamma, smoothing):
    logits, labels = batch()
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    y = np.where(labels == 1, 1 - smoothing / 2, smoothing / 2)
    p_t, alpha_t = p * y + (1 - p) * (1 - y), alpha * y + (1 - alpha) * (1 - y)
    entropy = -y * np.log(p) - (1 - y) * np.log(1 - p)
    expected = (alpha_t * (1 - p_t) ** gamma * entropy).sum() / len(labels)
    np.testing.assert_allclose(focal_loss(logits, labels, **settings), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "axis"),
    [(weighted_cross_entropy, None), (weighted_cross_entropy_per_finding, 0)],
)
def test_label_smoothing_moves_the_targets_and_keeps_the_weights(loss, axis):
    logits, labels = batch()
    share = labels.mean(axis)
    expected = (np.where(labels == 1, 1 / share, 1 / (1 - share)) * smoothed(logits, labels)).sum()
    np.testing.assert_allclose(
        loss(logits, labels, label_smoothing=0.1), expected / len(labels), rtol=1e-5
    )


def test_label_smoothing_of_the_binary_cross_entropy():
    logits, labels = batch()
    loss = binary_cross_entropy(logits, labels, label_smoothing=0.1)
    np.testing.assert_allclose(loss, smoothed(logits, labels).sum() / len(labels), rtol=1e-5)


def smoothed(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the cross-entropies of labels smoothed by 0.1."""
    targets = np.where(labels == 1, 0.95, 0.05)
    return targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)


LOSSES = (
    weighted_cross_entropy,
    weighted_cross_entropy_per_finding,
    binary_cross_entropy,
    focal_loss,
)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_ignores_padding(loss):
    logits, labels = batch()
    mask = np.arange(32) < 20
    np.testing.assert_allclose(
        loss(logits, labels, mask), loss(logits[:20], labels[:20]), rtol=1e-5
    )
    assert loss(logits, labels, np.zeros(32, bool)) == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
@pytest.mark.parametrize("label", [0, 1])
def test_every_loss_is_finite_at_extremes(loss, logit, label):
    logits, labels = np.full((6, 14), logit, np.float32), np.full((6, 14), label)
    value, gradient = jax.value_and_grad(loss)(logits, labels)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
