"""The network of a run at its best epoch, and training that starts from it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax

from jaxcxr.data.variant import Variant
from jaxcxr.errors import UserError
from jaxcxr.models import Classifier, build_classifier, classifier_config
from jaxcxr.models.weights.sources import local_path
from jaxcxr.runs.checkpoints import restore_best
from jaxcxr.runs.workdir import read_config, read_variant
from jaxcxr.training import fit as training
from jaxcxr.training.feeding import DataSource
from jaxcxr.training.fit import Run
from jaxcxr.training.state import Variables, initial_variables


@functools.wraps(training.fit)
def fit(
    model: Classifier,
    train_data: DataSource,
    *,
    initial_weights: Variables | str | Path | None = None,
    **settings: Any,
) -> Run:
    """Trains; `initial_weights` may be a run, too, or ``hf:owner/name``; see `starting_weights`."""
    weights = starting_weights(initial_weights)
    return training.fit(model, train_data, initial_weights=weights, **settings)


def starting_weights(weights: Variables | str | Path | None) -> Variables | str | Path | None:
    """Returns the variables of a run's best epoch, or where weights are on this machine.

    Args:
        weights: A run, a model folder, a file of weights, ``hf:owner/name[@revision]``, a name of
            the catalog, or anything else that `jaxcxr.training.fit.fit` takes.

    Raises:
        UserError: The run is damaged or has no finished epoch, or the weights cannot be found.
    """
    if not isinstance(weights, str | Path) or str(weights) in ("imagenet", "random"):
        return weights
    path = local_path(weights)
    return restore_network(path)[1] if (path / "checkpoints").is_dir() else path


def restore_network(workdir: str | Path) -> tuple[Classifier, Variables, int, Variant]:
    """Restores the network of a run at its best epoch.

    Args:
        workdir: Folder of the run.

    Returns:
        The network, its variables, the number of the epoch, and the image size and square of the
        radiographs that it was trained on.

    Raises:
        UserError: The folder holds no run or no finished epoch, or the run is damaged.
    """
    config, variant = read_config(workdir), read_variant(workdir)
    try:
        model = build_classifier(config["model"])
        shapes = jax.eval_shape(lambda: initial_variables(model, variant.image_size, seed=0))
    except UserError as error:
        path = Path(workdir) / "config.json"
        raise UserError(f"{path}: {error}", argument=error.argument) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{Path(workdir) / 'config.json'} is damaged ({error}); restore it or train again"
        ) from error
    settings = {"model": classifier_config(model), "data": {"image_size": variant.image_size}}
    return model, *restore_best(workdir, shapes, settings), variant
