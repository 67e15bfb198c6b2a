"""Which epoch of a run its scores are of: evaluation/epochs.json."""

from __future__ import annotations

import json
from pathlib import Path

from jaxcxr.errors import UserError
from jaxcxr.files import write_text

_AGAIN = "run evaluate_auc and evaluate_boxes again"


def record_epoch(workdir: Path, scores: str, epoch: int | None) -> None:
    """Notes the epoch of the run's scores ("auc" or "boxes"), for the report to compare.

    A damaged file is replaced: the remedy is to score the run again.
    """
    try:
        known = scored_epochs(workdir)
    except UserError:
        known = {}
    write_text(_path(workdir), json.dumps({**known, scores: epoch}) + "\n")


def scored_epochs(workdir: Path) -> dict[str, int | None]:
    """Returns the epoch of each kind of scores; nothing where the run was not scored.

    Raises:
        UserError: The file is damaged.
    """
    path = _path(workdir)
    if not path.exists():
        return {}
    try:
        epochs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); {_AGAIN}") from error
    if not isinstance(epochs, dict) or not all(map(_is_epoch, epochs.values())):
        raise UserError(f"{path} is {epochs!r:.60}; expected numbers of epochs; {_AGAIN}")
    return epochs


def _path(workdir: Path) -> Path:
    return workdir / "evaluation" / "epochs.json"


def _is_epoch(value: object) -> bool:
    return value is None or type(value) is int
