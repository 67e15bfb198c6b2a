"""Trained networks of others by name: the catalog `models.toml`.

A network is fetched and converted once, to a model folder in the cache.
"""

from __future__ import annotations

import functools
import importlib.resources
import logging
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.errors import UserError
from jaxcxr.models.weights.foreign import operating_points, read_foreign
from jaxcxr.models.weights.model_folder import is_model_folder, save_model_folder


@functools.cache
def entries() -> dict[str, dict[str, Any]]:
    """Returns what the catalog says about every network, by its name."""
    return {name: entry for name, entry in _catalog().items() if isinstance(entry, dict)}


def default() -> str:
    """Returns the name of the network that predicts where none is named."""
    return _catalog()["default"]


def catalog_folder(name: str) -> Path:
    """Returns the model folder of a network of the catalog, made on first use.

    A log message gives the license and what the network was trained on. Where the catalog has no
    SHA-256 to compare with, it gives the one found, which ``config.json`` keeps.

    Args:
        name: A name of `entries`.

    Raises:
        UserError: The name is unknown; the errors of `hub_file.fetch`.
    """
    from jaxcxr.models.weights import hub_file  # needs huggingface_hub

    if name not in entries():
        raise UserError(f"{name!r} is not in the catalog: use one of {', '.join(entries())}")
    entry = entries()[name]
    folder = hub_file.weights_folder() / f"{name}-{entry['revision'][:8]}"
    log = logging.getLogger(__name__)
    url = f"https://huggingface.co/{entry['repository']}"
    log.warning(
        "%s is from %s (%s), trained on %s: %s",
        *(name, url, entry["license"], entry["training_data"], entry["training_split"]),
    )
    if is_model_folder(folder):
        return folder
    path, sha256 = hub_file.fetch(name, entry)
    if "sha256" not in entry:
        log.warning(
            "%s is unverified: its SHA-256 is %s, the catalog has none. To pin it, compare it with "
            'the page of %s and add sha256 = "%s" to its entry in models.toml',
            *(path, sha256, url, sha256),
        )
    source = {
        "name": name,
        "url": url,
        "revision": entry["revision"],
        "sha256": sha256,
        "license": entry["license"],
    }
    thresholds = np.asarray(entry["thresholds"])
    trained = read_foreign(path, thresholds).described(
        source=source,
        training_data=entry["training_data"],
        training_split=entry["training_split"],
    )
    save_model_folder(folder, trained, operating_points(trained.findings, thresholds))
    return folder


@functools.cache
def _catalog() -> dict[str, Any]:
    path = importlib.resources.files("jaxcxr.models.weights") / "models.toml"
    return tomllib.loads(path.read_text())
