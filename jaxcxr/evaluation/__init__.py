"""Scores of probabilities and boxes of any system: arrays and tables in, numbers out.

One finding, arrays: `classification` (AUC, ROC, operating points), `calibration`, `statistics`
(bootstrap over patients, DeLong, Holm). Boxes: `boxes` (heat map to boxes, overlaps),
`localization` (correct and published protocol), `published_protocol`, `outcome` (accuracies and
intervals), `froc`. Heat maps: `masks`, `map_files`. Tables: `tables` (reading and writing CSV, of
any system through `fields`), `finding_scores` (all findings and groups), `comparison` (two
systems), `published` (the paper's figures). The definitions: docs/scoring.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

_MODULES = {module.name for module in pkgutil.iter_modules(__path__)}


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
