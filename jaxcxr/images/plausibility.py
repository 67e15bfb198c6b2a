"""Signs that a picture is not an upright frontal chest radiograph, by its coarse gray values.

A picture is reduced to 8×8 cells and correlated with the mean of 800 frontal radiographs of NIH
ChestX-ray14. If the correlation is much better after turning the picture or exchanging black and
white, that is what seems to be wrong. docs/data.md has the rates measured on real radiographs.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_LEFT_HALF = (
    (-28, -24, -16, 1),
    (-6, -2, -8, -1),
    (3, 2, -13, -2),
    (1, 0, -12, 3),
    (-4, 0, -4, 11),
    (-8, 3, 7, 17),
    (-12, 8, 17, 22),
    (-14, 11, 21, 25),
)
"""The mean radiograph, made symmetric; 100 times its standardized gray values."""

_MARGIN = 0.15
"""How much better the correlation must be after a change."""

_LONGEST = 1.8
"""Greatest ratio of the longer side; of NIH's 112,120 originals one is longer."""


def suspicions(pixels: np.ndarray) -> tuple[str, ...]:
    """Returns what may be wrong with a picture, each one line; most radiographs have nothing.

    Args:
        pixels: (H, W) uint8, as `read_radiograph` gives them.
    """
    found = []
    if max(pixels.shape) > _LONGEST * min(pixels.shape):
        found.append(f"{pixels.shape[1]}×{pixels.shape[0]} pixels are unusually long for a chest")
    cells = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX), np.float64)
    typical = np.hstack([_LEFT_HALF, np.fliplr(_LEFT_HALF)]).astype(np.float64)

    def likeness(changed: np.ndarray) -> float:
        deviations, expected = changed - changed.mean(), typical - typical.mean()
        norm = np.linalg.norm(deviations) * np.linalg.norm(expected)
        return float((deviations * expected).sum() / norm) if norm else 0.0

    upright = likeness(cells)
    changes = {
        "seems inverted, bone dark and air bright": -upright,
        "seems rotated by 90° clockwise": likeness(np.rot90(cells)),
        "seems rotated by 90° counterclockwise": likeness(np.rot90(cells, -1)),
        "seems upside down": likeness(np.rot90(cells, 2)),
    }
    best = max(changes, key=lambda change: changes[change])
    if changes[best] > upright + _MARGIN:
        found.append(best)
    return tuple(found)
