"""Writes trained models for other runtimes, each checked against JAX before it appears."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcxr.data.phantom.radiograph import LARGEST, SMALLEST, draw_radiograph
from jaxcxr.errors import UserError
from jaxcxr.export.portable import OUTPUTS, PortableModel, Run
from jaxcxr.files import atomic_write
from jaxcxr.findings import FINDINGS
from jaxcxr.inference.predictor import Predictor

TOLERANCE = 1e-4
"""Largest difference from JAX; of outputs above 1, such as some heat maps, its part of them."""

_IMAGES = 3


@dataclasses.dataclass(frozen=True)
class Parity:
    """How far a written model is from JAX on test images, as ``parity.json`` holds it.

    Attributes:
        runtime: What ran the written file, with its version.
        images: Number of test images, synthetic radiographs.
        probabilities: Largest absolute difference of a probability.
        heatmaps: Largest absolute difference of a heat map's value.
        heatmaps_maximum: Largest absolute value of a heat map.
        tolerance: `TOLERANCE`.
    """

    runtime: str
    images: int
    probabilities: float
    heatmaps: float
    heatmaps_maximum: float
    tolerance: float = TOLERANCE

    @property
    def is_met(self) -> bool:
        """Whether the differences are within the tolerance; NaN is not."""
        allowed = self.tolerance * max(1.0, self.heatmaps_maximum)
        return self.probabilities <= self.tolerance and self.heatmaps <= allowed


def export(predictor: Predictor, folder: str | Path, format: str) -> Parity:  # noqa: A002
    """Writes a model for another runtime into a folder.

    The function in it takes gray images (B, S, S, 1) uint8 of the model's size, of any number B
    (1 in TensorFlow Lite), and returns "probabilities" (B, F) and "heatmaps" (B, h, w, F) of the
    model's findings. The written file is run by its own runtime on synthetic radiographs and
    compared with JAX: the folder appears only when they agree. In it are the format's files,
    ``model.json`` (findings, operating points, heat map grid, license and so on) and
    ``parity.json``.

    Args:
        predictor: The model.
        folder: A folder that does not exist yet.
        format: One of `FORMATS`.

    Returns:
        The differences.

    Raises:
        UserError: The folder exists or cannot be written, a package of the format is not
            installed, or the outputs differ from JAX by more than `TOLERANCE`.
    """
    folder, model = Path(folder).absolute(), PortableModel(predictor)
    if folder.exists():
        raise UserError(f"{folder} exists already; name a new folder or remove it", argument="out")
    module = importlib.import_module(f"jaxcxr.export.{format}")
    with atomic_write(folder) as partial:
        partial.mkdir()
        _write_json(partial / "model.json", model.description)
        module.write(model, partial)
        runtime, run = module.load(partial)
        parity = _compare(model, runtime, run)
        if not parity.is_met:
            raise UserError(
                f"{runtime} differs from JAX by {parity.probabilities:.1e} in probabilities and "
                f"{parity.heatmaps:.1e} in heat maps of up to {parity.heatmaps_maximum:.1e}; "
                f"expected at most {TOLERANCE:g}; nothing is written, use another format",
                argument="format",
            )
        _write_json(partial / "parity.json", dataclasses.asdict(parity))
    return parity


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def draw_test_images(image_size: int) -> np.ndarray:
    """Draws the radiographs that exports are checked with: (3, S, S, 1) uint8."""
    drawn = min(max(image_size, SMALLEST), LARGEST)
    images = []
    for seed in range(_IMAGES):
        findings = FINDINGS[seed :: len(FINDINGS) // 2]
        image = Image.fromarray(draw_radiograph(findings, image_size=drawn, seed=seed).image)
        images.append(np.asarray(image.resize((image_size, image_size))))
    return np.stack(images)[..., None]


def _compare(model: PortableModel, runtime: str, run: Run) -> Parity:
    """Compares batches of one image and of the others."""
    images = draw_test_images(model.predictor.image_size)
    expected = model.reference(images)
    batches = [run(images[:1]), run(images[1:])]
    found = {name: np.concatenate([batch[name] for batch in batches]) for name in OUTPUTS}
    differences = {name: float(np.abs(found[name] - expected[name]).max()) for name in OUTPUTS}
    maximum = float(np.abs(expected["heatmaps"]).max())
    return Parity(runtime, len(images), **differences, heatmaps_maximum=maximum)
