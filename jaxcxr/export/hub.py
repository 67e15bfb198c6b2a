"""Sharing trained models on the Hugging Face hub; `load_model` pulls them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from jaxcxr.errors import UserError
from jaxcxr.files import write_text
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models.weights.model_card import model_card
from jaxcxr.models.weights.model_folder import TABLES
from jaxcxr.models.weights.sources import HUB, hub_errors


def push(
    predictor: Predictor, target: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Uploads a model folder with its model card to the Hugging Face hub.

    A repository that does not exist is made. Tables of an earlier upload that the model does not
    have are removed from it; a model card that was written or edited by hand is kept.

    Args:
        predictor: The model. A run is uploaded as the model folder that `Predictor.save` writes.
        target: ``hf:owner/name``.
        private: Whether the repository must be private.
        revision: Branch, made where it does not exist; default: main.

    Returns:
        The address of the commit.

    Raises:
        UserError: The token is missing or may not write there; `target` is not the name of a
            repository, or is public though it must be private; or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    repository = target.removeprefix(HUB)
    if not target.startswith(HUB) or repository.count("/") != 1:
        raise UserError(f"{target!r} is not the name of a repository; expected hf:owner/name")
    if get_token() is None:
        raise UserError(
            "no token of the Hugging Face hub was found; make one that may write on "
            "https://huggingface.co/settings/tokens, then log in (hf auth login) or set HF_TOKEN"
        )
    api = HfApi()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        predictor.save(folder)
        if (card := edited_card(predictor.folder)) is not None:
            write_text(folder / "README.md", card)
        with hub_errors(f"{target} cannot be written"):
            api.create_repo(repository, private=private or None, exist_ok=True)
            if private and not api.repo_info(repository).private:
                raise UserError(
                    f"{target} is public; make it private in its settings, or name another"
                )
            if revision is not None:
                api.create_branch(repository, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                revision=revision,
                delete_patterns=[*TABLES],
                commit_message="Upload model with jaxcxr",
            )
    return commit.commit_url


def edited_card(folder: Path | None) -> str | None:
    """Returns the model card of a model folder if it is another than the one we write."""
    if folder is None or not (path := folder / "README.md").is_file():
        return None
    card, scores = path.read_text("utf-8"), folder / "auc.csv"
    config = json.loads((folder / "config.json").read_text("utf-8"))
    ours = model_card(config, scores.read_text("utf-8") if scores.exists() else None)
    return None if card == ours else card
