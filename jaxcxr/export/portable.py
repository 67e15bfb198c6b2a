"""What every format writes: one function from gray images to findings, and its description."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxcxr.errors import UserError
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.ops.portable import portable_operations
from jaxcxr.models.weights.model_card import RESEARCH_ONLY, SYNTHETIC

INPUT = "images"
OUTPUTS = ("probabilities", "heatmaps")

Outputs = dict[str, Any]
"""Arrays by the names of `OUTPUTS`: (B, F) and (B, h, w, F) float32."""

Run = Callable[[np.ndarray], Outputs]
"""Images (B, S, S, 1) uint8 to outputs."""


@dataclasses.dataclass(frozen=True, eq=False)
class PortableModel:
    """A model as one function with its arrays inside.

    Attributes:
        predictor: The model.
    """

    predictor: Predictor

    @functools.cached_property
    def variables(self) -> Any:
        """The model's variables, NumPy."""
        return jax.device_get(self.predictor.variables)

    @property
    def network(self) -> Classifier:
        """The network."""
        return self.predictor.model

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of an image without the batch's axis: (S, S, 1)."""
        return (self.predictor.image_size, self.predictor.image_size, 1)

    def __call__(self, images: jax.Array) -> Outputs:
        """Computes the outputs of images (B, S, S, 1) uint8 by common operations."""
        with portable_operations():
            outputs = self.predictor.apply(self.variables, images)
        return dict(zip(OUTPUTS, outputs, strict=True))

    def reference(self, images: np.ndarray) -> Outputs:
        """Computes the outputs with this package's own operations, on the CPU."""
        with jax.default_device(jax.devices("cpu")[0]):
            outputs = jax.jit(self.predictor.apply)(self.variables, images)
        return {name: np.asarray(value) for name, value in zip(OUTPUTS, outputs, strict=True)}

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """What input and outputs mean: content of ``model.json``."""
        config, points = self.predictor.config(), self.predictor.operating_points
        names = self.predictor.named_findings
        columns = {
            "operating_points": points.thresholds,
            "calibration_slopes": points.slopes,
            "calibration_intercepts": points.intercepts,
        }
        known = {
            key: dict(zip(names, map(float, values), strict=True))
            for key, values in columns.items()
            if not np.isnan(values).any()
        }
        notice = RESEARCH_ONLY + (f" {SYNTHETIC}" if config["synthetic"] else "")
        return config | {
            "notice": notice,
            "license": config["source"].get("license", "unknown"),
            "findings": list(names),
            "trained_outputs": self.predictor.trained_outputs.tolist(),
            "input": f"{INPUT}: (B, {', '.join(map(str, self.image_shape))}) uint8, gray values",
            "outputs": "probabilities: (B, F) float32; heatmaps: (B, h, w, F) float32",
            **known,
        }


def imported(remedy: str, *names: str) -> list[ModuleType]:
    """Imports packages of one of this package's extras, which `remedy` installs.

    Raises:
        UserError: One is not installed.
    """
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: {remedy}", argument="format") from error
