"""One file of the Hugging Face hub, at a pinned revision, checked and usable without a network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import logging

from jaxcxr.errors import UserError


def weights_folder() -> Path:
    """Returns where files fetched by hand are looked for: `JAXCXR_WEIGHTS`, or the cache."""
    folder = os.environ.get("JAXCXR_WEIGHTS")
    return Path(folder) if folder else Path.home() / ".cache" / "jaxcxr" / "weights"


def fetch(name: str, pinned: Mapping[str, Any]) -> tuple[Path, str]:
    """Returns the path of a file, downloaded on first use, and its SHA-256.

    Args:
        name: What messages call the file; the name of a file fetched by hand.
        pinned: "repository", "file", "revision", "size" and, where it is known, "sha256".

    Raises:
        UserError: It cannot be fetched (the message gives the file and where to put it), or the
            bytes are not the pinned ones.
    """
    url = "https://huggingface.co/{repository}/resolve/{revision}/{file}".format_map(pinned)
    by_hand = weights_folder() / f"{name}{PurePosixPath(pinned['file']).suffix}"
    path = by_hand if by_hand.is_file() else _download(name, pinned, url, by_hand)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != pinned.get("sha256", found):
        raise UserError(
            f"{path} is not the file of {name}: its SHA-256 is {found}, expected "
            f"{pinned['sha256']}; delete it and fetch {url}"
        )
    return path, found


def _download(name: str, pinned: Mapping[str, Any], url: str, by_hand: Path) -> Path:
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
            f"the weights of {name} cannot be fetched ({type(error).__name__}); download {url} "
            f"({pinned['size']}) elsewhere and put it at {by_hand}"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
