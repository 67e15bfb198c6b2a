"""Losses over the label matrix of a batch, computed from logits.

Inside a step that is mapped over devices each function takes the device's rows and returns the
device's share of the loss: the shares of all devices add up to the loss of the global batch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def weighted_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """Weighted cross-entropy loss (WCEL), Eq. (1) of the paper, divided by the batch size.

    With |P| ones and |N| zeros in the label matrix of the global batch, all findings together,

        loss = [β_P Σ_{y=1} −ln p + β_N Σ_{y=0} −ln(1 − p)] / B,
        β_P = (|P| + |N|) / |P|,  β_N = (|P| + |N|) / |N|.

    It is finite for every finite logit, and a batch without positives (or without negatives) has no
    term for them.

    Args:
        logits: (B, K) float; p = sigmoid(logits).
        labels: (B, K), zeros and ones of any dtype.
        mask: (B,) bool, False for rows that pad the batch; None where all rows count.
        axis_name: Device axis over which the batch is spread, if any.

    Returns:
        float32 scalar: this device's share of the loss.
    """
    logits = logits.astype(jnp.float32)
    rows = jnp.ones(logits.shape[0], bool) if mask is None else mask
    present = (labels > 0) & rows[:, None]
    absent = (labels <= 0) & rows[:, None]
    counts = jnp.stack([present.sum(), absent.sum(), rows.sum()]).astype(jnp.float32)
    if axis_name is not None:
        counts = jax.lax.psum(counts, axis_name)
    positives, negatives, images = counts
    total = positives + negatives
    positive_loss = -jnp.where(present, jax.nn.log_sigmoid(logits), 0.0).sum()
    negative_loss = -jnp.where(absent, jax.nn.log_sigmoid(-logits), 0.0).sum()
    weighted = (
        total / jnp.maximum(positives, 1.0) * positive_loss
        + total / jnp.maximum(negatives, 1.0) * negative_loss
    )
    return weighted / jnp.maximum(images, 1.0)
