"""Which epoch of a run its scores are of: evaluation/epochs.json."""

from __future__ import annotations

import json
from pathlib import Path

from jaxcxr.errors import UserError
from jaxcxr.files import write_text


def record_epoch(evaluation: Path, scores: str, epoch: int | None) -> None:
    """Notes the epoch of the run's scores ("auc" or "boxes"), for the report to compare.

    A damaged file is replaced: the remedy is to score the run again.
    """
    try:
        known = scored_epochs(evaluation)
    except UserError:
        known = {}
    path = evaluation / "epochs.json"
    write_text(path, json.dumps({**known, scores: epoch}) + "\n")


def scored_epochs(evaluation: Path) -> dict[str, int | None]:
    """Returns the epoch of each kind of scores; nothing where the run was not scored.

    Raises:
        UserError: The file is damaged.
    """
    path = evaluation / "epochs.json"
    try:
        epochs = json.loads(path.read_text(encoding="utf-8"))
        return {scores: None if epoch is None else int(epoch) for scores, epoch in epochs.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); run evaluate_auc and evaluate_boxes again"
        ) from error
