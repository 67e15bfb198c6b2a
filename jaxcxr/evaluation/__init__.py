"""Scores of probabilities and boxes of any system: arrays and tables in, numbers out.

One finding, arrays: `classification` (AUC, ROC, operating points), `calibration`, `statistics`
(bootstrap over patients, DeLong, Holm). Boxes: `boxes` (heat map to boxes, overlaps),
`localization` (correct and published protocol), `published_protocol`, `outcome` (accuracies and
intervals). Tables: `tables` (reading and writing CSV), `finding_scores` (all findings and groups),
`comparison` (two systems), `published` (the paper's figures). The definitions: docs/scoring.md.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxcxr.evaluation import (
        boxes,
        calibration,
        classification,
        comparison,
        finding_scores,
        localization,
        outcome,
        published,
        published_protocol,
        statistics,
        tables,
    )

__all__ = [
    "boxes",
    "calibration",
    "classification",
    "comparison",
    "finding_scores",
    "localization",
    "outcome",
    "published",
    "published_protocol",
    "statistics",
    "tables",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
