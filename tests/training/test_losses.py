"""Eq. (1) against float64 NumPy, and its edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcxr.training.losses import weighted_cross_entropy


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


@pytest.mark.parametrize("logit", [-1e4, 1e4])
@pytest.mark.parametrize("label", [0, 1])
def test_extreme_logits_stay_finite(logit, label):
    logits = jnp.full((4, 14), logit, jnp.float32)
    labels = jnp.full((4, 14), label)
    loss, gradient = jax.value_and_grad(weighted_cross_entropy)(logits, labels)
    np.testing.assert_allclose(loss, equation_1(np.asarray(logits), np.asarray(labels)))
    assert np.isfinite(gradient).all()


def test_all_findings_share_one_positive_count():
    logits = jnp.zeros((2, 2))
    labels = jnp.array([[1, 1], [1, 0]])
    # β_P = 4/3 over three terms, β_N = 4 over one, each −ln ½; two images.
    np.testing.assert_allclose(weighted_cross_entropy(logits, labels), 8 * np.log(2) / 2, rtol=1e-6)
