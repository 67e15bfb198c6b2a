"""Fetching the ImageNet weights that the manifest `imagenet_weights.toml` pins."""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import logging

from jaxcxr.errors import UserError


@dataclass(frozen=True)
class PinnedFile:
    """One file of the manifest.

    Attributes:
        repository: Its repository on the Hugging Face hub.
        revision: The commit of that repository.
        file: Its name there.
        size: About how large it is.
        sha256: What its bytes must hash to.
        license: SPDX name of its license.
        origin: Where the repository has it from.
    """

    repository: str
    revision: str
    file: str
    size: str
    sha256: str
    license: str
    origin: str

    @property
    def url(self) -> str:
        """Where the file can be downloaded by hand."""
        return f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{self.file}"


def manifest() -> dict[str, PinnedFile]:
    """Returns the pinned file of every backbone."""
    text = (
        importlib.resources.files("jaxcxr.models.weights")
        .joinpath("imagenet_weights.toml")
        .read_text()
    )
    return {name: PinnedFile(**fields) for name, fields in tomllib.loads(text).items()}


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
    path = local_copy(backbone)
    if not path.is_file():
        path = _download(backbone, pinned)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != pinned.sha256:
        raise UserError(
            f"{path} is not the file of ImageNet weights of {backbone}: its SHA-256 is {found}, "
            f"expected {pinned.sha256}; delete it and fetch {pinned.url}"
        )
    return path


def _download(backbone: str, pinned: PinnedFile) -> Path:
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # offline, the hub would tell of each of its attempts
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                pinned.repository, pinned.file, revision=pinned.revision
            )
        )
    except (LocalEntryNotFoundError, HTTPError, OSError) as error:
        raise UserError(
            f"the ImageNet weights of {backbone} cannot be fetched ({type(error).__name__}); "
            f"download {pinned.url} ({pinned.size}) elsewhere and put it at "
            f"{local_copy(backbone)}, or start from random weights"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
