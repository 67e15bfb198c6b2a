"""The healthy thorax of a phantom: geometry that varies by patient and image, and its density.

Lengths are in units of half the image's side, x to the image's right (the patient's left), y down,
origin in the middle. The width of a thorax, about 1.6 units, stands for 30 cm: 1 cm is about 0.053.
Densities are attenuations: more is whiter.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from PIL import Image

View = Literal["PA", "AP"]

CENTIMETRE = 1.6 / 30
"""Length of a centimetre in the phantom's units."""


@dataclasses.dataclass(frozen=True)
class Thorax:
    """Measures of one patient's chest as one image shows it.

    Attributes:
        chest: Half width of the rib cage at its widest.
        apex: y of the lungs' tops.
        base: y of the diaphragm's domes, (right lung, left lung).
        dome: Height of the domes above their lateral ends; flat lungs have little.
        heart: Half width and half height of the heart's ellipse.
        heart_center: Its center (x, y).
        mediastinum: Half width of the mediastinum.
        rib_spacing: Distance of two ribs.
        rib_phase: Where the ribs begin, 0 to 1.
        soft_tissue: Thickness of the chest wall, added to the density everywhere in the body.
    """

    chest: float
    apex: float
    base: tuple[float, float]
    dome: float
    heart: tuple[float, float]
    heart_center: tuple[float, float]
    mediastinum: float
    rib_spacing: float
    rib_phase: float
    soft_tissue: float


def draw_thorax(rng: np.random.Generator) -> Thorax:
    """Draws a healthy thorax in full inspiration, posterior to anterior."""
    chest = rng.uniform(0.72, 0.86)
    height = rng.uniform(-0.06, 0.06)
    right = 0.56 + height + rng.uniform(-0.03, 0.03)
    ratio = rng.uniform(0.40, 0.50)  # cardiothoracic ratio: above one half is enlarged
    return Thorax(
        chest=chest,
        apex=-0.78 + height + rng.uniform(-0.04, 0.04),
        base=(right, right + rng.uniform(0.02, 0.07)),
        dome=rng.uniform(0.13, 0.22),
        heart=(ratio * chest, rng.uniform(0.25, 0.31)),
        heart_center=(rng.uniform(0.06, 0.13), 0.0),
        mediastinum=rng.uniform(0.09, 0.13),
        rib_spacing=rng.uniform(0.135, 0.165),
        rib_phase=rng.uniform(),
        soft_tissue=rng.uniform(0.0, 0.16),
    )


def seen_in(view: View, thorax: Thorax, rng: np.random.Generator) -> Thorax:
    """Returns the thorax as one image of `view` shows it.

    Each image is taken at another breath. AP images are taken supine at the bed: a magnified heart,
    higher diaphragms, a wider mediastinum.
    """
    breath = rng.normal(0.0, 0.025)
    heart, mediastinum = thorax.heart, thorax.mediastinum
    if view == "AP":
        breath -= 0.07
        heart = (heart[0] * 1.12, heart[1])
        mediastinum *= 1.15
    return dataclasses.replace(
        thorax,
        base=(thorax.base[0] + breath, thorax.base[1] + breath),
        heart=heart,
        mediastinum=mediastinum,
    )


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where each pixel lies in the thorax.

    Attributes:
        x, y: (S, S) float32 coordinates of the pixels' centers in the phantom's units.
    """

    x: np.ndarray
    y: np.ndarray

    @property
    def size(self) -> int:
        """Height and width S in pixels."""
        return len(self.x)

    @property
    def pixel(self) -> float:
        """Length of a pixel in the phantom's units."""
        return 2.0 / self.size


def positioned_grid(size: int, rng: np.random.Generator) -> Grid:
    """Draws how the patient stands before the detector: rotated, shifted, nearer or farther."""
    angle = math.radians(rng.normal(0.0, 4.0))
    scale = rng.uniform(0.92, 1.16)
    shift = [min(max(rng.normal(0.0, 0.055), -0.12), 0.12) for _ in range(2)]
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * scale
    x, y = axis[None, :] + shift[0], axis[:, None] + shift[1]
    cos, sin = math.cos(angle), math.sin(angle)
    return Grid(cos * x - sin * y, sin * x + cos * y)


def smooth_step(distance: np.ndarray, width: float) -> np.ndarray:
    """Rises from 0 to 1 about distance 0, over some `width`."""
    return 0.5 + 0.5 * np.tanh(distance / width)


def plateau(distance: np.ndarray, width: float) -> np.ndarray:
    """Is 1 about distance 0 and falls to 0 beyond `width` on both sides."""
    return np.exp(-np.square(np.square(distance / width)))


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Returns (size, size) float32 noise of deviation near 1 with some `cells` blobs a side."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


@dataclasses.dataclass(frozen=True)
class Chest:
    """The drawn thorax, with what signs need to find their places.

    Attributes:
        grid: Coordinates of the pixels.
        thorax: The measures.
        density: (S, S) float32.
        lungs: (S, S) air of the lungs, 0 to 1, (right lung, left lung).
        wall: (S, S) distance from the rib cage's inner side, positive inside.
    """

    grid: Grid
    thorax: Thorax
    density: np.ndarray
    lungs: tuple[np.ndarray, np.ndarray]
    wall: np.ndarray


def draw_chest(grid: Grid, thorax: Thorax, rng: np.random.Generator, vessels: float = 1.0) -> Chest:
    """Draws the densities of a thorax.

    Args:
        grid: Where the pixels lie.
        thorax: The measures.
        rng: Draws the lungs' markings.
        vessels: How strong the lungs' markings are.
    """
    x, y, pixel = grid.x, grid.y, grid.pixel
    edge = max(0.02, pixel)
    wall = cage_half_width(y, thorax) - np.abs(x)
    lungs = (_lung(grid, thorax, -1, wall, edge), _lung(grid, thorax, 1, wall, edge))
    air = lungs[0] + lungs[1]

    trunk = 1.12 * thorax.chest + 0.10 * np.clip(0.6 - np.abs(y + 1.0), 0, 1)
    body = smooth_step(trunk + 0.12 * y.clip(0, 1) - np.abs(x), 0.03)
    density = (0.62 + thorax.soft_tissue) * body
    density += (0.10 * smooth_step(y - 0.45, 0.15)) * body  # abdomen
    density -= 0.40 * air

    density += 0.20 * plateau(x, 0.8 * thorax.mediastinum) * body
    density += (
        0.05 * np.exp(-((x / 0.06) ** 2)) * (0.7 + 0.3 * np.cos(2 * np.pi * y / 0.12))
    )  # spine
    density -= 0.14 * plateau(x - 0.01, 0.035) * smooth_step(-0.25 - y, 0.05)  # trachea
    knob = np.hypot(x - thorax.mediastinum, y + 0.27)
    density += 0.13 * smooth_step(0.075 - knob, edge)  # aortic knob
    density += 0.30 * heart_shape(grid, thorax, edge) * (0.4 + 0.6 * air.clip(0, 1))
    density += _bones(grid, thorax, wall)
    density += vessels * _vessels(grid, air, rng)
    return Chest(grid, thorax, density, lungs, wall)


def heart_shape(grid: Grid, thorax: Thorax, edge: float) -> np.ndarray:
    """Returns the heart, 0 to 1: an ellipse leaning to the patient's left on the diaphragm."""
    cx = thorax.heart_center[0] * thorax.heart[0] / 0.36
    cy = min(thorax.base) - 0.55 * thorax.heart[1]
    x, y = grid.x - cx, grid.y - cy
    cos, sin = 0.93, 0.37
    along, across = cos * x + sin * y, -sin * x + cos * y
    radius = np.hypot(along / thorax.heart[0], across / thorax.heart[1])
    return smooth_step((1 - radius) * thorax.heart[1], edge)


def cage_half_width(y: np.ndarray, thorax: Thorax) -> np.ndarray:
    """Half width of the rib cage's inner side at height y: narrow at the apex, wide at the base."""
    depth = ((y - thorax.apex) / 1.05).clip(0, 1.2)
    return thorax.chest * np.sqrt(1 - _cube(1 - depth.clip(0, 1)))


def _cube(x: np.ndarray) -> np.ndarray:
    return x * x * x  # many times faster than the power function


def _lung(grid: Grid, thorax: Thorax, side: int, wall: np.ndarray, edge: float) -> np.ndarray:
    x, y = grid.x * side, grid.y
    base = thorax.base[0 if side < 0 else 1]
    dome = base - thorax.dome + thorax.dome * ((x - 0.42) / 0.34) ** 2
    medial = thorax.mediastinum * (0.75 + 0.25 * ((y + 0.2) / 0.6) ** 2)
    return (
        smooth_step(wall - 0.03, edge)
        * smooth_step(x - medial, edge)
        * smooth_step(dome - y, edge)
        * smooth_step(y - thorax.apex, edge)
    )


def _bones(grid: Grid, thorax: Thorax, wall: np.ndarray) -> np.ndarray:
    x, y = np.abs(grid.x), grid.y
    inside = smooth_step(wall + 0.02, 0.03) * smooth_step(0.70 - y, 0.08)
    inside *= smooth_step(y - thorax.apex + 0.03, 0.04)
    posterior = (y - 0.55 * (x - 0.1) * (0.9 - x)) / thorax.rib_spacing + thorax.rib_phase
    anterior = (y - 0.75 * x * x) / (1.15 * thorax.rib_spacing) + 0.5 * thorax.rib_phase
    ribs = 0.085 * np.exp(5.0 * (np.cos(2 * np.pi * posterior) - 1))
    ribs += 0.05 * np.exp(6.0 * (np.cos(2 * np.pi * anterior) - 1)) * smooth_step(x - 0.25, 0.1)
    collar = y - (thorax.apex + 0.19 - 0.16 * x)
    ribs = ribs * inside
    return ribs + 0.10 * plateau(collar, 0.026) * smooth_step(0.8 - x, 0.03)


def _vessels(grid: Grid, air: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Markings of the lungs: branches about the hila, finer and fainter outwards."""
    size = grid.size
    hila = [np.hypot(grid.x - side * 0.17, grid.y + 0.02) for side in (-1, 1)]
    near = np.minimum(*hila)
    branches = np.abs(smooth_noise(rng, size, 22)) - 0.8
    fine = smooth_noise(rng, size, 44)
    markings = 0.05 * np.exp(-near / 0.35) * (0.6 * fine - branches) + 0.012 * fine
    return air * (markings + 0.14 * np.exp(-((near / 0.10) ** 2)))
