"""Fetching the ImageNet weights that the manifest `imagenet_weights.toml` pins."""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import logging

from jaxcxr.errors import UserError


def manifest() -> dict[str, dict[str, str]]:
    """Returns the pinned file of every backbone: where it is, its size, SHA-256 and license."""
    path = importlib.resources.files("jaxcxr.models.weights") / "imagenet_weights.toml"
    return tomllib.loads(path.read_text())


def local_copy(backbone: str) -> Path:
    """Returns where a file fetched by hand is looked for: under `JAXCXR_WEIGHTS` or the cache."""
    folder = os.environ.get("JAXCXR_WEIGHTS") or Path.home() / ".cache" / "jaxcxr" / "weights"
    return Path(folder) / f"{backbone}.safetensors"


def fetch(backbone: str) -> Path:
    """Returns the path of a backbone's ImageNet weights, downloaded on first use.

    Args:
        backbone: A name of the manifest, "ResNet34".

    Raises:
        UserError: There are no weights for this backbone, they cannot be fetched (the message says
            which file to put where), or the bytes are not the pinned ones.
    """
    pinned = manifest().get(backbone)
    if pinned is None:
        raise UserError(f"no ImageNet weights are known for {backbone}: {', '.join(manifest())}")
    url = "https://huggingface.co/{repository}/resolve/{revision}/{file}".format_map(pinned)
    path = local_copy(backbone)
    if not path.is_file():
        path = _download(backbone, pinned, url)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != pinned["sha256"]:
        raise UserError(
            f"{path} is not the file of ImageNet weights of {backbone}: its SHA-256 is {found}, "
            f"expected {pinned['sha256']}; delete it and fetch {url}"
        )
    return path


def _download(backbone: str, pinned: Mapping[str, str], url: str) -> Path:
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # offline, the hub would tell of each of its attempts
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                pinned["repository"], pinned["file"], revision=pinned["revision"]
            )
        )
    except (LocalEntryNotFoundError, HTTPError, OSError) as error:
        raise UserError(
            f"the ImageNet weights of {backbone} cannot be fetched ({type(error).__name__}); "
            f"download {url} ({pinned['size']}) elsewhere and put it at "
            f"{local_copy(backbone)}, or start from random weights"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
