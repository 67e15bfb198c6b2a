"""What was run: the settings of runs, side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxcxr.reporting.runs import RunFiles

UNKNOWN = "not recorded"

_MAIN = {
    "Network": "{model.backbone.name} + {model.head.name}",
    "Initial weights": "{initial_weights}",
    "Dataset": "{run.data.dataset} (release {run.data.release})",
    "Radiographs": "{run.data.train} train, {run.data.validation} validation, {run.data.test} test",
    "Loss": "{loss}",
    "Learning rate": "{optimizer.learning_rate}",
    "Weight decay": "{optimizer.weight_decay}",
    "Batch size": "{batch_size}",
    "Seed": "{seed}",
    "Parameters": "{run.parameters}",
    "Started": "{run.started}",
    "Device": "{run.device} × {run.devices}",
    "Versions": "jaxcxr {run.jaxcxr}, Python {run.python}, JAX {run.packages.jax}",
    "Source commit": "{run.commit}",
}
"""What a reader asks first, from the settings of config.json and (run.…) the facts of run.json."""

Row = tuple[str, Sequence[str]]
"""Settings that are shown, and their value in each run."""


def main_settings(runs: Sequence[RunFiles]) -> list[Row]:
    """Returns network, data, training, machine, versions and commit, those that a run recorded."""
    flat = [_recorded(run) for run in runs]
    rows = [(name, [_filled(text, some) for some in flat]) for name, text in _MAIN.items()]
    return [(name, answers) for name, answers in rows if {*answers} != {UNKNOWN}]


def all_settings(runs: Sequence[RunFiles]) -> list[Row]:
    """Returns all of config.json and run.json by dotted names; – where a run has none."""
    flat = [_recorded(run) for run in runs]
    names = sorted({name for settings in flat for name in settings})
    return [(name, [settings.get(name, "–") for settings in flat]) for name in names]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the leaves of a nested mapping as text, by their dotted names."""
    leaves = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = _text(value)
    return leaves


def _recorded(run: RunFiles) -> dict[str, str]:
    return flatten(run.config) | flatten(run.facts, "run.")


def _filled(text: str, known: Mapping[str, str]) -> str:
    fields = re.findall(r"{(.+?)}", text)
    if not {*fields} <= {*known}:
        return UNKNOWN
    return re.sub(r"{(.+?)}", lambda field: known[field[1]], text)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
