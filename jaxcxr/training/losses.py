"""Losses over the label matrix of a batch, computed from logits.

Every loss takes

    logits: (B, K) float; p = sigmoid(logits).
    labels: (B, K), zeros and ones of any dtype.
    mask: (B,) bool, False for rows that pad the batch; None where all rows count.
    label_smoothing: ones become 1 − s/2 and zeros s/2; the weights stay those of the labels.

and returns a float32 scalar, finite for every finite logit: the sum over findings of the weighted
cross-entropies, divided by the number of images. `fit` calls it with the global batch in training
and with the complete split in validation. A loss of one's own is any function (logits, labels,
mask) → scalar.
"""

from __future__ import annotations

import functools
import inspect
import types
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def weighted_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Weighted cross-entropy loss (WCEL), Eq. (1) of the paper, divided by the batch size.

    With |P| ones and |N| zeros in the label matrix, all findings together,

        loss = [β_P Σ_{y=1} −ln p + β_N Σ_{y=0} −ln(1 − p)] / B,
        β_P = (|P| + |N|) / |P|,  β_N = (|P| + |N|) / |N|.

    A batch without positives (or without negatives) has no term for them.
    """
    rows = _rows(logits, mask)
    positives, negatives = (count.sum() for count in _count_per_finding(labels, rows))
    weights = _balance(labels, positives, negatives)
    return _mean_over_images(weights * _entropy(logits, labels, label_smoothing), rows)


def weighted_cross_entropy_per_finding(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Eq. (1) with |P| and |N| counted for each finding separately."""
    rows = _rows(logits, mask)
    weights = _balance(labels, *_count_per_finding(labels, rows))
    return _mean_over_images(weights * _entropy(logits, labels, label_smoothing), rows)


def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Unweighted cross-entropy, as CheXNet's (Rajpurkar et al. 2017) 14-finding network."""
    return _mean_over_images(_entropy(logits, labels, label_smoothing), _rows(logits, mask))


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
    return _mean_over_images(losses, _rows(logits, mask))


def same_partial(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same object for equal partials of a loss, so that it is compiled once."""
    if not isinstance(loss, functools.partial):
        return loss
    try:
        return _partial(loss.func, loss.args, tuple(sorted(loss.keywords.items())))
    except TypeError:  # an argument that cannot be hashed
        return loss


@functools.lru_cache(maxsize=16)
def _partial(
    function: Callable[..., Any], args: tuple[Any, ...], keywords: tuple[tuple[str, Any], ...]
) -> Callable[..., Any]:
    return functools.partial(function, *args, **dict(keywords))


def loss_identity(loss: Callable[..., Any]) -> str:
    """Returns the name of a loss with its settings, by which a resumed training recognizes it.

    The losses of this module go by their name; ``focal_loss(gamma=3.0)`` stands for a
    `functools.partial`; any other function goes by its module and qualified name. Those of lambdas
    and of functions made in functions are not unique: a checksum of their code, defaults and
    closure is added.
    """
    settings: dict[str, Any] = {}
    while isinstance(loss, functools.partial):
        settings = {**loss.keywords, **settings}
        settings |= {f"argument {place}": value for place, value in enumerate(loss.args)}
        loss = loss.func
    named = loss if hasattr(loss, "__qualname__") else type(loss)
    name = named.__qualname__
    if "<" in name and inspect.isfunction(function := inspect.unwrap(loss)):
        name += f"#{zlib.crc32(_content(function).encode()):08x}"
    if named.__module__ != __name__:
        return _with_settings(f"{named.__module__}.{name}", settings)
    defaults = inspect.signature(loss).parameters
    changed = {key: v for key, v in settings.items() if defaults[key].default != v}
    return _with_settings(name, changed)


def _content(value: Any, depth: int = 4) -> str:
    """Returns what a function or a plain value is made of, the same in every process.

    Args:
        value: Anything; objects other than functions, numbers, text and arrays go by their type.
        depth: How deep to follow what it is made of.
    """
    if isinstance(value, bool | int | float | complex | str | bytes | types.NoneType):
        return repr(value)
    if isinstance(value, np.ndarray | jax.Array):
        return f"{value.dtype}{np.asarray(value).tolist()}"
    parts: Sequence[Any] = ()
    if isinstance(value, types.CodeType):
        parts = (value.co_code, value.co_names, value.co_consts)
    elif inspect.isfunction(value):
        enclosed = inspect.getclosurevars(value).nonlocals.values()
        parts = (value.__code__, *enclosed, value.__defaults__, value.__kwdefaults__)
    elif isinstance(value, list | tuple):
        parts = value
    elif isinstance(value, dict):
        parts = (*value.keys(), *value.values())
    inner = [_content(part, depth - 1) for part in parts] if depth else []
    return f"{type(value).__qualname__}{inner}"


def _with_settings(name: str, settings: dict[str, Any]) -> str:
    words = ", ".join(f"{key}={value!r}" for key, value in sorted(settings.items()))
    return f"{name}({words})" if words else name


def _rows(logits: jax.Array, mask: jax.Array | None) -> jax.Array:
    return jnp.ones(logits.shape[0], bool) if mask is None else mask


def _count_per_finding(labels: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the numbers (K,) of ones and of zeros in the rows that count."""
    positives = jnp.where(rows[:, None], labels > 0, False).sum(0).astype(jnp.float32)
    return positives, rows.sum().astype(jnp.float32) - positives


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


def _mean_over_images(losses: jax.Array, rows: jax.Array) -> jax.Array:
    images = rows.sum().astype(jnp.float32)
    return jnp.where(rows[:, None], losses, 0.0).sum() / jnp.maximum(images, 1.0)
