"""The folder of one run: its settings (config.json) and where it ran (run.json)."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from jaxcxr.data.variant import Variant
from jaxcxr.errors import UserError
from jaxcxr.files import remove_file, write_text

_MAY_CHANGE = frozenset(
    {
        "epochs",
        "checkpoint_every",
        "keep_checkpoints",
        "nonfinite_patience",
        "data_placement",
        "metrics",
    }
)
"""Settings that may differ when a run is resumed."""

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def read_config(workdir: str | Path) -> dict[str, Any]:
    """Reads `config.json` of a run.

    Raises:
        UserError: `workdir` is not the folder of a run, or the file is damaged.
    """
    path = Path(workdir) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise TypeError("no JSON object")
        return settings
    except OSError as error:
        raise UserError(
            f"{workdir} is not the folder of a run: {path} cannot be read "
            f"({error.strerror}); name the folder of a training",
            argument="workdir",
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}); restore it or train in another folder"
        ) from error


def read_variant(workdir: str | Path) -> Variant:
    """Reads which prepared dataset a run was trained on.

    Raises:
        UserError: The file cannot be read, or does not name a dataset.
    """
    try:
        return Variant(**read_config(workdir)["data"])
    except (KeyError, TypeError, UserError) as error:
        raise UserError(
            f"{workdir}/config.json does not name the prepared dataset ({error}); restore it or "
            "train again in another folder"
        ) from error


def claim_workdir(workdir: str | Path, config: Mapping[str, Any]) -> None:
    """Makes `workdir` the folder of the run that `config` describes, or checks that it is.

    A new folder gets `config.json`, as does one in which no epoch was finished. In the folder of an
    earlier run every setting that both have must be equal, except those that may change.

    Raises:
        UserError: The folder belongs to another run; the message names each difference.
    """
    path = Path(workdir) / "config.json"
    if path.exists():
        different = different_settings(read_config(workdir), config)
        if different and any((Path(workdir) / "checkpoints").glob("[0-9]*")):
            raise UserError(
                f"{workdir} holds another run: {'; '.join(different)}. "
                "Use the settings of that run to resume it (more epochs continue it); for others, "
                f"name a new folder and {workdir} as initial_weights to start from its best epoch",
                argument="workdir",
            )
        if not different:
            return
        remove_file(Path(workdir) / "run.json")
    write_text(path, json.dumps(dict(config), indent=2) + "\n")


def different_settings(there: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Returns each difference between the settings of two runs, in words.

    Args:
        there: Settings of an earlier run.
        config: The settings asked for. One that only one of both has is not compared, nor is one
            that may change.
    """
    asked, found = (flatten_dict(json.loads(json.dumps(each)), sep=".") for each in (config, there))
    return [
        f"{name} is {found[name]!r} there and {asked[name]!r} here"
        for name in asked
        if name in found and found[name] != asked[name] and name not in _MAY_CHANGE
    ]


def recipe(workdir: str | Path) -> str:
    """Returns how a run was trained, for its model card: the settings that are not 0 or unset.

    Raises:
        UserError: `workdir` is not the folder of a run, or `config.json` is damaged.
    """
    settings = flatten_dict(read_config(workdir), sep=".")
    return ", ".join(
        f"{name} {value}"
        for name, value in settings.items()
        if value and not name.startswith(("model.", "data."))
    )


def data_facts(workdir: str | Path) -> Mapping[str, Any]:
    """Returns what run.json records of the dataset; nothing if it cannot be read."""
    try:
        facts = json.loads((Path(workdir) / "run.json").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def trained_on_other_data(workdir: str | Path, facts: Mapping[str, Any]) -> str | None:
    """Returns a remark where run.json names another dataset than `facts`, None otherwise."""
    there = data_facts(workdir)
    if not there or there.get("fingerprint") == facts.get("fingerprint"):
        return None
    return (
        f"{workdir} was trained on another dataset (release {there.get('release')!r}) than this "
        f"one (release {facts.get('release')!r})"
    )


def write_run_facts(workdir: str | Path, **facts: Any) -> None:
    """Writes `run.json`: versions, devices and source commit of this process, and `facts`.

    The file is for people and the report; nothing is computed from it.
    """
    devices = jax.devices()
    record = {
        "jaxcxr": importlib.metadata.version("jaxcxr"),
        "commit": _source_commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "device": devices[0].device_kind,
        "platform": devices[0].platform,
        "devices": len(devices),
        "processes": jax.process_count(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **facts,
    }
    write_text(Path(workdir) / "run.json", json.dumps(record, indent=2) + "\n")


def _source_commit() -> str | None:
    """Returns the commit of the checkout that this package runs from, "…-dirty" when edited."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
