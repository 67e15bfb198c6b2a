"""Fetching the ImageNet weights that the manifest `imagenet_weights.toml` pins."""

from __future__ import annotations

import importlib.resources
import tomllib
from pathlib import Path

from jaxcxr.errors import UserError
from jaxcxr.models.weights import hub_file


def manifest() -> dict[str, dict[str, str]]:
    """Returns the pinned file of every backbone: where it is, its size, SHA-256 and license."""
    path = importlib.resources.files("jaxcxr.models.weights") / "imagenet_weights.toml"
    return tomllib.loads(path.read_text())


def fetch(backbone: str) -> Path:
    """Returns the path of a backbone's ImageNet weights, downloaded on first use.

    Args:
        backbone: A name of the manifest, "ResNet34".

    Raises:
        UserError: The backbone has no ImageNet weights; the errors of `hub_file.fetch`.
    """
    pinned = manifest().get(backbone)
    if pinned is None:
        raise UserError(f"no ImageNet weights are known for {backbone}: {', '.join(manifest())}")
    return hub_file.fetch(backbone, pinned)[0]
