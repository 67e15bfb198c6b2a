"""One phantom radiograph: a chest with its findings, exposed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from jaxcxr.data.phantom.anatomy import (
    View,
    draw_chest,
    draw_thorax,
    positioned_grid,
    seen_in,
    smooth_noise,
)
from jaxcxr.data.phantom.signs import SIGNS, alter_thorax
from jaxcxr.errors import UserError
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS, canonical_finding

SMALLEST, LARGEST = 64, 1024


@dataclasses.dataclass(frozen=True)
class Phantom:
    """A synthetic radiograph.

    Attributes:
        image: (S, S) uint8; dense is white, heads up, the heart to the image's right.
        boxes: For each of its findings that NIH annotates the box (x, y, w, h) in pixels, origin
            top left.
    """

    image: np.ndarray
    boxes: dict[str, tuple[float, float, float, float]]


def draw_radiograph(
    findings: Iterable[str],
    *,
    image_size: int,
    seed: int | np.random.SeedSequence,
    patient_seed: int | np.random.SeedSequence | None = None,
    view: View = "PA",
) -> Phantom:
    """Draws a radiograph with the given findings.

    Args:
        findings: Names of `FINDINGS`; none for a healthy chest.
        image_size: Height and width S in pixels, 64 to 1024.
        seed: Decides about this image: breath, position, signs, exposure, noise. With other
            findings the same seed gives the same image but for their signs.
        patient_seed: Decides about the patient's anatomy; `seed` where not given.
        view: Posterior to anterior, standing, or anterior to posterior, supine.

    Raises:
        UserError: The size is out of range or a finding unknown.
    """
    require_size(image_size)
    try:
        present = frozenset(canonical_finding(finding) for finding in findings)
    except KeyError as error:
        raise UserError(f"{error} is not a finding; use names of {', '.join(FINDINGS)}") from error
    pose, lungs, signs, machine = np.random.default_rng(seed).spawn(4)
    anatomy = np.random.default_rng(seed if patient_seed is None else patient_seed)
    sides = {finding: int(signs.choice((-1, 1))) for finding in FINDINGS}
    thorax = seen_in(view, draw_thorax(anatomy), pose)
    thorax = alter_thorax(present, sides["Atelectasis"], thorax)
    grid = positioned_grid(image_size, pose)
    vessels = lungs.uniform(0.8, 1.2) * (0.6 if "Emphysema" in present else 1.0)
    chest = draw_chest(grid, thorax, lungs, vessels)
    density = chest.density
    boxes = {}
    for finding in FINDINGS:
        if finding in present:
            sign = SIGNS[finding](chest, sides[finding], signs)
            density = density + sign.density
            if finding in BOXED_FINDINGS:
                boxes[finding] = _bounding_box(sign.extent)
    return Phantom(_expose(density, machine), boxes)


def require_size(image_size: int) -> None:
    """Raises UserError where phantoms of `image_size` pixels cannot be drawn."""
    if not SMALLEST <= image_size <= LARGEST:
        raise UserError(f"image_size is {image_size}; phantoms have {SMALLEST} to {LARGEST} pixels")


def _bounding_box(extent: np.ndarray) -> tuple[float, float, float, float]:
    """Returns (x, y, w, h) of the pixels where a sign is at least half there."""
    there = extent >= 0.5 * min(1.0, float(extent.max()))
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    x, y = int(columns[0]), int(rows[0])
    return float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)


def _expose(density: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turns density into gray values as some machine would: its own window, curve and noise."""
    size = len(density)
    density = density + rng.uniform(0.0, 0.05) * smooth_noise(rng, size, 3)
    low = rng.uniform(-0.02, 0.14)
    gray = ((density - low) * rng.uniform(0.85, 1.35)).clip(0.0, 1.3) / 1.3
    gray = gray ** rng.uniform(0.75, 1.35)
    gray = gray * rng.uniform(0.95, 1.3)
    noise = rng.standard_normal(density.shape, np.float32) * rng.uniform(0.006, 0.02)
    return np.rint((gray + noise).clip(0, 1) * 255).astype(np.uint8)
