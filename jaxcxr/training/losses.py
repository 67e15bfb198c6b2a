"""Losses over the label matrix of a batch, computed from logits.

Every loss takes

    logits: (B, K) float; p = sigmoid(logits).
    labels: (B, K), zeros and ones of any dtype; NaN is unknown and takes no part.
    mask: (B,) bool, False for rows that pad the batch; None where all rows count.
    label_smoothing: ones become 1 − s/2 and zeros s/2; the weights stay those of the labels.

and returns a float32 scalar, finite for every finite logit: the sum over known labels of the
weighted cross-entropies, divided by the number of images. `fit` calls it with the global batch in
training and with the complete split in validation. A loss of one's own is any function (logits,
labels, mask) → scalar.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def weighted_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Weighted cross-entropy loss (WCEL), Eq. (1) of the paper, divided by the batch size.

    With |P| ones and |N| zeros among the known labels, all findings together,

        loss = [β_P Σ_{y=1} −ln p + β_N Σ_{y=0} −ln(1 − p)] / B,
        β_P = (|P| + |N|) / |P|,  β_N = (|P| + |N|) / |N|.

    A batch without positives (or without negatives) has no term for them.
    """
    rows = _rows(logits, mask)
    known = _known(labels, rows)
    positives, negatives = (count.sum() for count in _count_per_finding(labels, known))
    weights = _balance(labels, positives, negatives)
    return _mean_over_images(weights * _entropy(logits, labels, label_smoothing), known, rows)


def weighted_cross_entropy_per_finding(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Eq. (1) with |P| and |N| counted for each finding separately."""
    rows = _rows(logits, mask)
    known = _known(labels, rows)
    weights = _balance(labels, *_count_per_finding(labels, known))
    return _mean_over_images(weights * _entropy(logits, labels, label_smoothing), known, rows)


def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Unweighted cross-entropy, as CheXNet's (Rajpurkar et al. 2017) 14-finding network."""
    rows = _rows(logits, mask)
    losses = _entropy(logits, labels, label_smoothing)
    return _mean_over_images(losses, _known(labels, rows), rows)


def focal_loss(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> jax.Array:
    """Focal loss (Lin et al. 2018), which the paper's discussion proposes for this problem.

    `alpha` weighs ones and 1 − alpha zeros; easy cases count less by (1 − p_t) ** gamma.
    """
    targets = _smooth(labels, label_smoothing)
    losses = optax.sigmoid_focal_loss(logits.astype(jnp.float32), targets, alpha=alpha, gamma=gamma)
    rows = _rows(logits, mask)
    return _mean_over_images(losses, _known(labels, rows), rows)


def loss_name(loss: Callable[..., Any]) -> str:
    """Returns the name by which a resumed training recognizes its loss.

    Functions of this module go by their name, others by module and qualified name; settings of a
    `functools.partial` follow where they are not the defaults: ``focal_loss(gamma=3.0)``.
    """
    settings: dict[str, Any] = {}
    while isinstance(loss, functools.partial):
        settings = {**loss.keywords, **settings}
        loss = loss.func
    named = loss if hasattr(loss, "__qualname__") else type(loss)
    name = f"{named.__module__}.{named.__qualname__}".removeprefix(f"{__name__}.")
    defaults = inspect.signature(loss).parameters
    words = ", ".join(
        f"{key}={value!r}"
        for key, value in sorted(settings.items())
        if key not in defaults or defaults[key].default != value
    )
    return f"{name}({words})" if words else name


def _rows(logits: jax.Array, mask: jax.Array | None) -> jax.Array:
    return jnp.ones(logits.shape[0], bool) if mask is None else mask


def _known(labels: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns which labels count, (B, K); (B, 1) where the dtype has no unknown ones."""
    counted = rows[:, None]
    return counted & ~jnp.isnan(labels) if jnp.issubdtype(labels.dtype, jnp.floating) else counted


def _count_per_finding(labels: jax.Array, known: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the numbers (K,) of ones and of zeros among the labels that count."""
    positives = jnp.where(known, labels > 0, False).sum(0).astype(jnp.float32)
    return positives, known.sum(0).astype(jnp.float32) - positives


def _balance(labels: jax.Array, positives: jax.Array, negatives: jax.Array) -> jax.Array:
    """Returns β_P at the ones and β_N at the zeros, (B, K)."""
    total = positives + negatives
    beta_p, beta_n = total / jnp.maximum(positives, 1.0), total / jnp.maximum(negatives, 1.0)
    return jnp.where(labels > 0, beta_p, beta_n)


def _smooth(labels: jax.Array, label_smoothing: float) -> jax.Array:
    return jnp.where(labels > 0, 1.0 - label_smoothing / 2, label_smoothing / 2)


def _entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float) -> jax.Array:
    targets = _smooth(labels, label_smoothing)
    return optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), targets)


def _mean_over_images(losses: jax.Array, known: jax.Array, rows: jax.Array) -> jax.Array:
    images = rows.sum().astype(jnp.float32)
    return jnp.where(known, losses, 0.0).sum() / jnp.maximum(images, 1.0)
