"""What was run: the settings of runs, side by side."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxcxr.reporting.runs import RunFiles

UNKNOWN = "not recorded"

Row = tuple[str, Sequence[str]]
"""Settings that are shown, and their value in each run."""


def main_settings(runs: Sequence[RunFiles]) -> list[Row]:
    """Returns what a reader asks first: network, data, training, machine, versions, commit.

    What no run has recorded is left out.
    """
    questions: dict[str, Callable[[RunFiles], str]] = {
        "Network": _network,
        "Initial weights": lambda run: _setting(run, "initial_weights"),
        "Dataset": _dataset,
        "Radiographs": _radiographs,
        "Loss": lambda run: _setting(run, "loss").replace("_", " "),
        "Learning rate": lambda run: _setting(run, "optimizer", "learning_rate"),
        "Weight decay": lambda run: _setting(run, "optimizer", "weight_decay"),
        "Batch size": lambda run: _setting(run, "batch_size"),
        "Seed": lambda run: _setting(run, "seed"),
        "Parameters": lambda run: _fact(run, "parameters"),
        "Started": _started,
        "Device": _device,
        "Versions": _versions,
        "Source commit": lambda run: _fact(run, "commit"),
    }
    rows = [(name, [answer(run) for run in runs]) for name, answer in questions.items()]
    return [(name, answers) for name, answers in rows if {*answers} != {UNKNOWN}]


def all_settings(runs: Sequence[RunFiles]) -> list[Row]:
    """Returns every setting of every config.json by its dotted name; – where a run has none."""
    flat = [flatten(run.config) for run in runs]
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


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _find(tree: Mapping[str, Any], *path: str) -> Any:
    """Returns the value at a path in nested mappings, None where it does not lead anywhere."""
    value: Any = tree
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _setting(run: RunFiles, *path: str) -> str:
    value = _find(run.config, *path)
    return UNKNOWN if value is None else _text(value)


def _fact(run: RunFiles, *path: str) -> str:
    value = _find(run.facts, *path)
    return UNKNOWN if value is None else _text(value)


def _network(run: RunFiles) -> str:
    parts = [_find(run.config, "model", part, "name") for part in ("backbone", "head")]
    return " + ".join(_text(part) for part in parts if part is not None) or UNKNOWN


def _dataset(run: RunFiles) -> str:
    prepared, release = (_fact(run, "data", name) for name in ("dataset", "release"))
    kind = ", synthetic" if _find(run.facts, "data", "synthetic") else ""
    return f"{prepared} (release {release}{kind})" if prepared != UNKNOWN else UNKNOWN


def _radiographs(run: RunFiles) -> str:
    sizes = {name: _find(run.facts, "data", name) for name in ("train", "validation", "test")}
    return ", ".join(f"{_text(n)} {name}" for name, n in sizes.items() if n is not None) or UNKNOWN


def _started(run: RunFiles) -> str:
    try:
        moment = datetime.datetime.fromisoformat(_fact(run, "started"))
    except ValueError:
        return UNKNOWN
    return f"{moment:%Y-%m-%d %H:%M %Z}".rstrip()


def _device(run: RunFiles) -> str:
    devices = _find(run.facts, "devices")
    return _fact(run, "device") + (f" × {devices}" if devices else "")


def _versions(run: RunFiles) -> str:
    packages = _find(run.facts, "packages")
    named = {"jaxcxr": _find(run.facts, "jaxcxr"), "Python": _find(run.facts, "python")}
    named |= packages if isinstance(packages, Mapping) else {}
    known = [f"{name} {version}" for name, version in named.items() if version is not None]
    return ", ".join(known) or UNKNOWN
