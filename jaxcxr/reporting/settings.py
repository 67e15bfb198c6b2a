"""What was run: the settings of runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcxr.reporting.runs import RunFiles

_MAIN = {
    "Backbone": "model.backbone.name",
    "Head": "model.head.name",
    "Initial weights": "initial_weights",
    "Dataset": "run.data.dataset",
    "Release": "run.data.release",
    "Training radiographs": "run.data.train",
    "Validation radiographs": "run.data.validation",
    "Test radiographs": "run.data.test",
    "Loss": "loss",
    "Learning rate": "optimizer.learning_rate",
    "Weight decay": "optimizer.weight_decay",
    "Batch size": "batch_size",
    "Seed": "seed",
    "Parameters": "run.parameters",
    "Started": "run.started",
    "Device": "run.device",
    "Devices": "run.devices",
    "jaxcxr": "run.jaxcxr",
    "JAX": "run.packages.jax",
    "Source commit": "run.commit",
}
"""What a reader asks first: names of settings of config.json and (run.…) facts of run.json."""

Row = tuple[str, Sequence[str]]
"""Name of a setting, and its value in each run; – where it has none."""


def all_settings(runs: Sequence[RunFiles]) -> list[Row]:
    """Returns all of config.json and run.json by dotted names."""
    flat = [_flatten({**run.config, "run": run.facts}) for run in runs]
    names = sorted({name for settings in flat for name in settings})
    return [(name, [settings.get(name, "–") for settings in flat]) for name in names]


def main_settings(runs: Sequence[RunFiles]) -> list[Row]:
    """Returns network, data, training, machine and versions, those that a run recorded."""
    known = dict(all_settings(runs))
    return [(title, known[name]) for title, name in _MAIN.items() if name in known]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    leaves = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= _flatten(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = _text(value)
    return leaves


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:,}" if type(value) is int else str(value)
