"""The radiographic signs of the 14 findings, drawn into a phantom's chest.

| finding | sign | box |
|---|---|---|
| Atelectasis | linear band across a lung, diaphragm raised on that side | the band |
| Cardiomegaly | heart wider than half the chest | the heart |
| Effusion | fluid over one base, its surface rising to the wall (meniscus) | the fluid |
| Infiltration | several faint, ill-defined patches in one zone | the patches |
| Mass | round, well-defined, 3.4 to 6.5 cm | the mass |
| Nodule | round, well-defined, 1.7 to 2.6 cm | the nodule |
| Pneumonia | wedge against a straight fissure, dark air bronchograms in it | the wedge |
| Pneumothorax | lucent rim at the apex without markings, behind a fine pleural line | the rim |
| Consolidation | dense, homogeneous, ragged outline | |
| Edema | haze about both hila, short horizontal lines at the walls | |
| Emphysema | lucent lungs, flat low diaphragms, narrow heart, few markings | |
| Fibrosis | net of fine lines in the outer lower lungs | |
| Pleural_Thickening | smooth band along the chest wall | |
| Hernia | round opacity behind the heart with a fluid level and gas above | |

The findings with a box are those of NIH's box list. Signs follow the textbooks' descriptions in
outline only: they differ in shape and texture, and need not resemble a patient's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from jaxcxr.data.phantom.anatomy import (
    CENTIMETRE,
    Chest,
    Thorax,
    cage_half_width,
    heart_shape,
    plateau,
    smooth_noise,
    smooth_step,
)


@dataclasses.dataclass(frozen=True)
class Sign:
    """What a finding changes in the image.

    Attributes:
        density: (S, S) added to the chest's density.
        extent: (S, S), above one half where the finding lies.
    """

    density: np.ndarray
    extent: np.ndarray


def alter_thorax(findings: frozenset[str], side: int, thorax: Thorax) -> Thorax:
    """Returns the thorax with the shape that the findings give it.

    Args:
        findings: The radiograph's findings.
        side: Side of the atelectasis: −1 right lung, 1 left lung.
        thorax: The healthy measures.
    """
    if "Emphysema" in findings:
        thorax = dataclasses.replace(
            thorax,
            base=(thorax.base[0] + 0.09, thorax.base[1] + 0.09),
            dome=0.05,
            heart=(0.82 * thorax.heart[0], 1.05 * thorax.heart[1]),
        )
    if "Cardiomegaly" in findings:
        width, height = thorax.heart
        thorax = dataclasses.replace(thorax, heart=(1.42 * width, 1.10 * height))
    if "Atelectasis" in findings:
        right, left = thorax.base
        raised = (right - 0.08, left) if side < 0 else (right, left - 0.08)
        thorax = dataclasses.replace(thorax, base=raised)
    return thorax


def _atelectasis(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x, y = _place_in_lung(chest, side, rng, depth=(0.45, 0.85))
    angle = math.radians(rng.uniform(-35, 35))
    along, across = _turned(chest, x, y, angle)
    length, width = rng.uniform(0.17, 0.26), rng.uniform(0.028, 0.04)
    band = smooth_step(length - np.abs(along), 0.04) * np.exp(-((across / width) ** 2))
    return _in_lung(chest, side, 0.30 * band, band)


def _cardiomegaly(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    # `alter_thorax` has enlarged it
    heart = heart_shape(chest.grid, chest.thorax, max(0.02, chest.grid.pixel))
    return Sign(np.zeros_like(heart), heart)


def _effusion(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x, y = chest.grid.x * side, chest.grid.y
    level = chest.thorax.base[0 if side < 0 else 1] - rng.uniform(0.14, 0.34)
    surface = level - 0.30 * smooth_step(0.13 - chest.wall, 0.07) * rng.uniform(0.6, 1.1)
    fluid = smooth_step(y - surface, 0.025) * smooth_step(chest.wall - 0.02, 0.02)
    fluid = fluid * smooth_step(x - 0.1, 0.03)
    air = chest.lungs[0 if side < 0 else 1]
    return Sign(0.36 * fluid * air, fluid * air)


def _infiltration(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x, y = _place_in_lung(chest, side, rng, depth=(0.2, 0.85))
    size = rng.uniform(0.15, 0.22)
    radius = np.hypot(chest.grid.x - x, chest.grid.y - y)
    zone = plateau(radius, size)
    patches = smooth_step(smooth_noise(rng, chest.grid.size, 26) - 0.25, 0.35)
    return _in_lung(chest, side, 0.24 * zone * patches, zone)


def _mass(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    return _round_opacity(chest, side, rng, CENTIMETRE * rng.uniform(3.4, 6.5), 0.30)


def _nodule(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    return _round_opacity(chest, side, rng, CENTIMETRE * rng.uniform(1.7, 2.6), 0.36)


def _pneumonia(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x, y = _place_in_lung(chest, side, rng, depth=(0.3, 0.75))
    angle = math.radians(rng.uniform(-20, 20)) + (math.pi if rng.random() < 0.5 else 0.0)
    along, across = _turned(chest, x, y, angle)
    size = rng.uniform(0.14, 0.22)
    wedge = smooth_step(across, 0.012) * smooth_step(size - np.hypot(along, 1.1 * across), 0.03)
    spread = np.arctan2(across + 0.05, along)
    tubes = np.exp(8.0 * (np.cos(9.0 * spread + rng.uniform(0, 6)) - 1))
    return _in_lung(chest, side, wedge * (0.30 - 0.28 * tubes), wedge)


def _pneumothorax(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    y, air = chest.grid.y, chest.lungs[0 if side < 0 else 1]
    apex = chest.thorax.apex
    width = rng.uniform(0.10, 0.20)
    reach = rng.uniform(0.35, 0.75)
    drawn_in = chest.wall - 0.03 - width * (1 - ((y - apex) / reach).clip(0, 1) ** 2)
    top = smooth_step(apex + reach - y, 0.03) * (chest.grid.x * side > 0)
    rim = smooth_step(-drawn_in, 0.012) * top
    line = np.exp(-((drawn_in / 0.014) ** 2)) * top
    return Sign(air * (0.20 * line - 0.15 * rim), air * rim)


def _consolidation(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x, y = _place_in_lung(chest, side, rng, depth=(0.25, 0.8))
    radius = np.hypot(chest.grid.x - x, 0.8 * (chest.grid.y - y))
    ragged = rng.uniform(0.13, 0.2) + 0.05 * smooth_noise(rng, chest.grid.size, 18)
    dense = smooth_step(ragged - radius, 0.015)
    return _in_lung(chest, side, 0.32 * dense, dense)


def _edema(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x, y = chest.grid.x, chest.grid.y
    air = chest.lungs[0] + chest.lungs[1]
    size = rng.uniform(0.22, 0.30)
    wings = [np.hypot((x - s * 0.22) / 0.85, y - 0.02) for s in (-1, 1)]
    haze = plateau(np.minimum(*wings), 1.1 * size)
    mottled = 0.8 + 0.35 * smooth_noise(rng, chest.grid.size, 30)
    septa = np.exp(9.0 * (np.cos(2 * np.pi * y / 0.075 + rng.uniform(0, 6)) - 1))
    septa = septa * smooth_step(0.16 - chest.wall, 0.03) * smooth_step(y - 0.0, 0.05)
    return Sign(air * (0.17 * haze * mottled + 0.10 * septa), air * haze)


def _emphysema(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    # `alter_thorax` has flattened the diaphragms
    air = chest.lungs[0] + chest.lungs[1]
    bullae = smooth_noise(rng, chest.grid.size, 12)
    walls = np.exp(-((bullae / 0.10) ** 2)) * smooth_step(-chest.grid.y, 0.2)
    return Sign(air * (0.055 * walls - 0.06), air)


def _fibrosis(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    air = chest.lungs[0] + chest.lungs[1]
    outer = smooth_step(0.30 - chest.wall, 0.08) * smooth_step(chest.grid.y + 0.1, 0.12)
    cells = smooth_noise(rng, chest.grid.size, 24)
    net = np.exp(-((cells / 0.22) ** 2)) - 0.15
    return Sign(0.32 * air * outer * net, air * outer)


def _pleural_thickening(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x, y = chest.grid.x * side, chest.grid.y
    middle, length = rng.uniform(-0.35, 0.15), rng.uniform(0.18, 0.32)
    width = rng.uniform(0.11, 0.15) + 0.012 * smooth_noise(rng, chest.grid.size, 14)
    band = smooth_step(width - chest.wall, 0.012) * smooth_step(length - np.abs(y - middle), 0.05)
    band = band * (x > 0)
    return Sign(0.34 * band * smooth_step(chest.wall - 0.02, 0.02), band)


def _hernia(chest: Chest, side: int, rng: np.random.Generator) -> Sign:
    x = rng.uniform(-0.06, 0.18)
    y = min(chest.thorax.base) - rng.uniform(0.14, 0.26)
    size = rng.uniform(0.10, 0.15)
    radius = np.hypot(chest.grid.x - x, chest.grid.y - y)
    inside = smooth_step(size - radius, 0.012)
    wall = np.exp(-(((radius - size) / 0.014) ** 2))
    gas = smooth_step(y - 0.02 - chest.grid.y, 0.008)
    return Sign(inside * (0.13 - 0.30 * gas) + 0.09 * wall, inside)


SIGNS: dict[str, Callable[[Chest, int, np.random.Generator], Sign]] = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}


def _place_in_lung(
    chest: Chest, side: int, rng: np.random.Generator, depth: tuple[float, float]
) -> tuple[float, float]:
    """Draws a place (x, y) in a lung; depth 0 is the apex, 1 the base."""
    base = chest.thorax.base[0 if side < 0 else 1] - 0.6 * chest.thorax.dome
    y = chest.thorax.apex + rng.uniform(*depth) * (base - chest.thorax.apex)
    room = float(cage_half_width(np.asarray(y), chest.thorax)) - 0.13
    return side * rng.uniform(0.22, max(room, 0.26)), y


def _turned(chest: Chest, x: float, y: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns coordinates along and across a direction, from the place (x, y)."""
    dx, dy = chest.grid.x - x, chest.grid.y - y
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * dx + sin * dy, -sin * dx + cos * dy


def _round_opacity(
    chest: Chest, side: int, rng: np.random.Generator, diameter: float, density: float
) -> Sign:
    x, y = _place_in_lung(chest, side, rng, depth=(0.15, 0.85))
    stretch = rng.uniform(0.88, 1.12)
    radius = np.hypot((chest.grid.x - x) * stretch, (chest.grid.y - y) / stretch)
    disc = smooth_step(diameter / 2 - radius, max(0.012, 0.5 * chest.grid.pixel))
    return Sign(density * disc, disc)


def _in_lung(chest: Chest, side: int, density: np.ndarray, extent: np.ndarray) -> Sign:
    air = chest.lungs[0 if side < 0 else 1]
    return Sign(density * air, extent * air)
