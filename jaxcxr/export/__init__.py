"""Trained models for use elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxcxr.inference.predictor import Predictor

FORMATS: Mapping[str, Callable[[Predictor, Path], None]] = {"folder": Predictor.save}
"""What writes a model to a new folder, by the name of the format."""
