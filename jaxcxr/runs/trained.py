"""Training that starts from the weights of a run: `fit` for every kind of initial weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcxr.models import Classifier, build_classifier, classifier_config
from jaxcxr.runs.checkpoints import restore_best
from jaxcxr.runs.workdir import read_config
from jaxcxr.training import fit as training
from jaxcxr.training.feeding import DataSource
from jaxcxr.training.fit import Run
from jaxcxr.training.state import Variables


@functools.wraps(training.fit)
def fit(
    model: Classifier,
    train_data: DataSource,
    *,
    initial_weights: Variables | str | Path | None = None,
    **settings: Any,
) -> Run:
    """Trains; `initial_weights` may be a run's folder, too, and then are its best epoch's."""
    weights = starting_weights(initial_weights)
    return training.fit(model, train_data, initial_weights=weights, **settings)


def starting_weights(weights: Variables | str | Path | None) -> Variables | str | Path | None:
    """Returns the variables of a run's best epoch where a run's folder is named.

    Args:
        weights: A run's folder, or anything else that `jaxcxr.training.fit.fit` takes.

    Raises:
        UserError: The run is damaged or has no finished epoch.
    """
    if not isinstance(weights, str | Path):
        return weights
    workdir = Path(weights).expanduser()
    if not (workdir / "checkpoints").is_dir():
        return weights
    config = read_config(workdir)
    model, size = build_classifier(config.model.to_dict()), config.data.image_size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    settings = {"model": classifier_config(model), "data": {"image_size": size}}
    variables, _ = restore_best(workdir, shapes, settings)
    return variables
