"""Heat maps and boxes over radiographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from jaxcxr.evaluation.boxes import Scale, enlarge, scale_heatmap
from jaxcxr.images.grid import Grid

ANNOTATED = (86, 180, 233)
PREDICTED = (40, 220, 130)

_SHORTEST_SIDE = 256


def overlay(
    radiograph: np.ndarray,
    heatmap: np.ndarray | None,
    annotated: np.ndarray,
    predicted: np.ndarray,
    png_size: Sequence[int] | np.ndarray,
    grid: tuple[Grid, Grid] | None = None,
    *,
    note: str = "",
    opacity: float = 0.55,
    cut: float = 0,
    scale: Scale = "range",
) -> np.ndarray:
    """Draws heat map and boxes over a radiograph: annotated boxes blue, predicted green and dashed.

    Args:
        radiograph: (H, W) uint8, the complete original image at any size.
        heatmap: (h, w) of any range, or None for the radiograph with its boxes alone. It is scaled
            to its minimum and maximum over the image; cold places stay clear.
        annotated: (n, 4) boxes x, y, w, h in pixels of the original image, origin top left.
        predicted: (m, 4) boxes x, y, w, h in pixels of the original image.
        png_size: Width and height of the original image in pixels.
        grid: Where the heat map's columns and rows lie, in pixels of the original image. Default:
            its cells tile the image.
        note: A line of text to print on the lower edge.
        opacity: Of the greatest heat, 0 to 1.
        cut: Places whose heat on `scale` is not greater stay clear, 0 to 1.
        scale: Scale of `cut`; see `jaxcxr.evaluation.boxes.BoxRule`.

    Returns:
        (H', W', 3) uint8, H' and W' at least 256.
    """
    height, width = radiograph.shape
    zoom = max(1.0, _SHORTEST_SIDE / min(height, width))
    height, width = round(height * zoom), round(width * zoom)
    gray = Image.fromarray(radiograph).resize((width, height), Image.Resampling.BICUBIC)
    zooms = np.array([width, height]) / np.asarray(png_size, float)
    heat = np.zeros((height, width))
    if heatmap is not None:
        drawn = grid and (grid[0].scaled(zooms[0]), grid[1].scaled(zooms[1]))
        enlarged = enlarge(heatmap, width, height, drawn)
        heat = 255 * scale_heatmap(enlarged) * (scale_heatmap(enlarged, scale) > cut)
    picture = Image.fromarray(_tinted(np.asarray(gray), heat, opacity))
    pen = ImageDraw.Draw(picture)
    zoomed = np.tile(zooms, 2)
    thick = max(2, round(min(height, width) / 160))
    for box in np.asarray(annotated, float).reshape(-1, 4) * zoomed:
        pen.rectangle(_corners(box), outline=ANNOTATED, width=thick)
    for box in np.asarray(predicted, float).reshape(-1, 4) * zoomed:
        _dashed_rectangle(pen, _corners(box), thick)
    if note:
        _print_note(pen, note, width, height)
    return np.asarray(picture)


def _print_note(pen: ImageDraw.ImageDraw, note: str, width: int, height: int) -> None:
    """Prints a line on a dark strip along the lower edge, as large as fits, up to 1/30 of it."""
    size = height / 30
    size = min(size, size * 0.95 * width / pen.textlength(note, font_size=size))
    pen.rectangle((0, height - 1.5 * size, width, height), fill=(0, 0, 0))
    pen.text((width / 2, height - 0.75 * size), note, (255, 255, 255), anchor="mm", font_size=size)


def _tinted(gray: np.ndarray, heat: np.ndarray, greatest: float) -> np.ndarray:
    """Lays heat (H, W) of 0..255 over gray (H, W) of 0..255; the hotter the less transparent."""
    from matplotlib import colormaps  # takes long to import

    opacity = (greatest * heat / 255)[..., None]
    colors = (1 - opacity) * gray[..., None] + opacity * 255 * colormaps["inferno"](heat / 255)[
        ..., :3
    ]
    return np.rint(colors).astype(np.uint8)


def _corners(box: np.ndarray) -> tuple[float, float, float, float]:
    """Returns the first and last pixel of a box [x, x + w) × [y, y + h)."""
    x, y, w, h = box
    return x, y, max(x, x + w - 1), max(y, y + h - 1)


def _dashed_rectangle(
    pen: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], thick: int
) -> None:
    left, top, right, bottom = corners
    dash = 4 * thick
    for start in np.arange(left, right, 2 * dash):
        for y in (top, bottom):
            pen.line((start, y, min(start + dash, right), y), fill=PREDICTED, width=thick)
    for start in np.arange(top, bottom, 2 * dash):
        for x in (left, right):
            pen.line((x, start, x, min(start + dash, bottom)), fill=PREDICTED, width=thick)
