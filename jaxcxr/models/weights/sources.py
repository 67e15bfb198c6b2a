"""Where trained models come from: this machine, the Hugging Face hub, or the catalog."""

from __future__ import annotations

import os
from pathlib import Path

from jaxcxr.errors import UserError
from jaxcxr.models.weights import catalog

HUB = "hf:"
"""What a model on the hub begins with: ``hf:owner/name@revision``."""


def local_path(source: str | Path) -> Path:
    """Returns where a model is on this machine; others are downloaded on first use.

    Args:
        source: A path, ``hf:owner/name[@revision]``, or a name of `catalog.entries`.

    Raises:
        UserError: There is no such path, or the model cannot be downloaded.
    """
    if str(source).startswith(HUB):
        return _snapshot(str(source))
    if not is_known(source):
        raise UserError(
            f"{source} does not exist; expected a run, a model folder, hf:owner/name or one of "
            f"{', '.join(catalog.entries())}",
            argument="model",
        )
    path = Path(source).expanduser()
    return path if path.exists() else catalog.catalog_folder(str(source))


def is_known(source: str | Path) -> bool:
    """Returns whether `local_path` can be tried: a path that exists, or a name elsewhere."""
    return (
        str(source).startswith(HUB)
        or os.path.exists(Path(source).expanduser())
        or str(source) in catalog.entries()
    )


def is_downloaded(source: str | Path) -> bool:
    """Returns whether a model was downloaded, so that its folder must not be changed."""
    from huggingface_hub.constants import HF_HUB_CACHE

    path = Path(source).expanduser()
    if str(source).startswith(HUB) or (str(source) in catalog.entries() and not path.exists()):
        return True
    return path.resolve().is_relative_to(Path(HF_HUB_CACHE).resolve())


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
