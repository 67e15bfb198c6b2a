"""Loss and metrics of a complete validation split."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, Prediction
from jaxcxr.training.devices import (
    BY_ROWS,
    EVERYWHERE,
    Batch,
    made_once,
    map_over_devices,
    shard_batch,
)
from jaxcxr.training.feeding import DataSource
from jaxcxr.training.objective import Loss, checked_logits, gather
from jaxcxr.training.state import Variables

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(logits (N, K) float32, labels (N, K)) → a number, of the complete split.

Labels are NaN where they are unknown.
"""

_BATCHES_AHEAD = 2
"""Batches that the host may be ahead of the devices: more would pile up in their memory."""


def mean_auc(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean area under the ROC curve over the findings that have both classes.

    NaN where no finding has both, or a logit is not finite.

    Args:
        logits: (N, K), higher speaks for the finding.
        labels: (N, K), zeros and ones, NaN where unknown: left out.
    """
    from jaxcxr.evaluation.classification import auc  # lazy: it imports scikit-learn

    if not np.isfinite(logits).all():
        return float("nan")
    areas = [auc(labels[:, k], logits[:, k]) for k in range(labels.shape[1])]
    areas = [area for area in areas if not np.isnan(area)]
    return float(np.mean(areas)) if areas else float("nan")


METRICS: dict[str, Metric] = {"auc": mean_auc}
"""Metrics that `fit` knows by name."""


def named_metrics(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    """Returns metrics by the names under which the history holds them, without ``val_``.

    Raises:
        UserError: A name is not in `METRICS`, or two metrics share one.
    """
    named: dict[str, Metric] = {}
    for metric in (metrics,) if isinstance(metrics, str) else metrics:
        if metric not in METRICS if isinstance(metric, str) else not callable(metric):
            raise UserError(
                f"metrics names {metric!r}; expected {', '.join(METRICS)}, or a function (logits, "
                "labels) → number",
                argument="metrics",
            )
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
        if name in named or name == "loss":
            raise UserError(f"metrics has {name!r} twice; give it once", argument="metrics")
        named[name] = METRICS[metric] if isinstance(metric, str) else metric
    return named


@made_once
def make_logits_step(
    model: Classifier, mesh: Mesh
) -> Callable[[Variables, Batch], tuple[jax.Array, jax.Array, jax.Array]]:
    """Returns the jitted step (variables, batch) → logits (B, K), labels (B, K) and mask (B,).

    They are the rows of the global batch, on every device. Batch norm uses its running statistics.
    """

    def device_step(variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        prediction = cast(Prediction, model.apply(variables, model.normalize(batch["image"])))
        logits = checked_logits(prediction.logits, batch["labels"])
        return gather((logits, batch["labels"], batch["mask"]))

    return map_over_devices(device_step, mesh, (EVERYWHERE, BY_ROWS))


@dataclasses.dataclass(frozen=True)
class Validation:
    """A validation split and what is computed on it.

    The loss is evaluated once, on the logits of all radiographs of the split: the weights |P| and
    |N| of Eq. (1) are those of the split, and neither the batch size nor the number of devices or
    processes changes it.

    Attributes:
        data: The split.
        model: The network.
        loss: See `jaxcxr.training.objective.Loss`.
        metrics: By name; see `named_metrics`.
        batch_size: Radiographs per step.
        mesh: The devices.
    """

    data: DataSource
    model: Classifier
    loss: Loss
    metrics: dict[str, Metric]
    batch_size: int
    mesh: Mesh

    def __call__(
        self, variables: Variables, interruption: Callable[[], str | None]
    ) -> tuple[dict[str, float], str | None]:
        """Returns ``val_loss`` and the other metrics, or the reason of an interruption.

        Args:
            variables: Those of the network.
            interruption: Asked after each batch why to stop; None to continue.

        Raises:
            UserError: The split holds no radiographs.
        """
        step = make_logits_step(self.model, self.mesh)
        pending: deque[tuple[jax.Array, ...]] = deque()
        rows: list[tuple[np.ndarray, ...]] = []
        batches = self.data.batches(
            self.batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        for batch in batches:
            pending.append(step(variables, shard_batch(batch, self.mesh)))
            if len(pending) > _BATCHES_AHEAD:
                rows.append(_valid_rows(pending.popleft()))
            if (reason := interruption()) is not None:
                return {}, reason
        rows += map(_valid_rows, pending)
        if not sum(len(labels) for _, labels in rows):
            raise UserError("the validation split holds no images; prepare one with some")
        logits, labels = map(np.concatenate, zip(*rows, strict=True))
        return self._scores(logits, labels), None

    def _scores(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        loss = _jitted(self.loss)(logits, labels, np.ones(len(logits), bool))
        scores = {name: float(metric(logits, labels)) for name, metric in self.metrics.items()}
        return {f"val_{name}": value for name, value in {"loss": float(loss), **scores}.items()}


@made_once
def _jitted(loss: Loss) -> Callable[..., jax.Array]:
    return jax.jit(lambda *arrays: loss(*arrays))  # jit hashes its function; a loss need not be


def _valid_rows(batch: tuple[jax.Array, ...]) -> tuple[np.ndarray, ...]:
    """Returns logits and labels of the rows that do not pad the batch."""
    logits, labels, mask = map(np.asarray, batch)
    return logits[mask], labels[mask]
