"""Which epoch of a run its scores are of: evaluation/epochs.json."""

from __future__ import annotations

import json
from pathlib import Path

from jaxcxr.files import write_text


def record_epoch(workdir: Path, scores: str, epoch: int | None) -> None:
    """Notes the epoch of the run's scores ("auc" or "boxes"), for the report to compare."""
    path = workdir / "evaluation" / "epochs.json"
    write_text(path, json.dumps({**scored_epochs(workdir), scores: epoch}) + "\n")


def scored_epochs(workdir: Path) -> dict[str, int | None]:
    """Returns the epoch of each kind of scores; nothing where that is not known."""
    try:
        return dict(json.loads((workdir / "evaluation" / "epochs.json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}
