"""Where trained models come from: this machine, the Hugging Face hub, or the catalog."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
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
        UserError: The path does not exist, or the model cannot be downloaded.
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

    repository, _, revision = source.removeprefix(HUB).partition("@")
    with hub_errors(f"{source} cannot be downloaded"):
        return Path(huggingface_hub.snapshot_download(repository, revision=revision or None))


@contextlib.contextmanager
def hub_errors(problem: str) -> Iterator[None]:
    """Turns an error of a request to the hub into a `UserError`: `problem`, reason and remedy."""
    from huggingface_hub import errors

    log_in = "log in with a token that may (hf auth login, or HF_TOKEN)"
    reasons = {
        errors.HFValidationError: "it is not a valid name; expected hf:owner/name[@revision]",
        errors.GatedRepoError: f"access is granted on its page; ask for it there and {log_in}",
        errors.RepositoryNotFoundError: "no such repository, or a private one; check the name, or "
        + log_in,
        errors.RevisionNotFoundError: "no such revision; check what follows @",
    }
    failures = (errors.HTTPError, OSError, ValueError, RuntimeError)  # pyright: ignore[reportPrivateImportUsage]
    try:
        yield
    except failures as error:
        if isinstance(error, UserError):
            raise
        response = getattr(error, "response", None)
        known = [reason for kind, reason in reasons.items() if isinstance(error, kind)]
        if known:
            reason = known[0]
        elif response is not None:
            remedy = log_in if response.status_code in (401, 403) else "try again later"
            reason = f"the hub answers with status {response.status_code}; {remedy}"
        elif isinstance(error, ValueError | RuntimeError):
            reason = str(error).replace("\n", " ")
        else:
            reason = "the hub cannot be reached; check the connection, or name a folder"
        raise UserError(f"{problem}: {reason}", argument="model") from error
