"""Where trained models come from: this machine, the Hugging Face hub, or the catalog."""

from __future__ import annotations

import os
from pathlib import Path

from jaxcxr.errors import UserError

HUB = "hf:"
"""What a model on the hub begins with: ``hf:owner/name@revision``."""


def local_path(source: str | Path) -> Path:
    """Returns where a model is on this machine; one of the hub is downloaded on first use.

    Args:
        source: A path, ``hf:owner/name[@revision]``, or a name of the catalog.

    Raises:
        UserError: There is no such path, or the model cannot be downloaded.
    """
    if str(source).startswith(HUB):
        return _snapshot(str(source))
    if not is_known(source):
        raise UserError(
            f"{source} does not exist; expected a run, a model folder or hf:owner/name",
            argument="model",
        )
    return Path(source).expanduser()


def is_known(source: str | Path) -> bool:
    """Returns whether `local_path` can be tried: a path that exists, or a name of the hub."""
    return str(source).startswith(HUB) or os.path.exists(Path(source).expanduser())


def is_downloaded(source: str | Path) -> bool:
    """Returns whether a model is of the hub, so that its folder must not be changed."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if str(source).startswith(HUB):
        return True
    return Path(source).expanduser().resolve().is_relative_to(Path(HF_HUB_CACHE).resolve())


def _snapshot(source: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = source.removeprefix(HUB).partition("@")
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision or None))
    except HFValidationError as error:
        raise UserError(f"{source} is not hf:owner/name[@revision]", argument="model") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"{source} cannot be downloaded ({type(error).__name__}); check the name, the "
            "connection and, for a private repository, the token (hf auth login)",
            argument="model",
        ) from error
