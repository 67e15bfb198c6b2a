"""Figures: ROC curves, learning curves, reliability, and heat maps over radiographs.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from jaxcxr.evaluation.boxes import enlarge, scale_heatmap
from jaxcxr.evaluation.calibration import Reliability

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""One per run, in order."""

ANNOTATED = (86, 180, 233)
PREDICTED = (40, 220, 130)

_SHORTEST_SIDE = 256
_HEAT = matplotlib.colormaps["inferno"]


def roc_figure(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], aucs: Mapping[str, float]
) -> Figure:
    """Draws the ROC curve of each finding in a panel of its own.

    Args:
        curves: Per finding false and true positive rates.
        aucs: Per finding the area under its curve.
    """
    return compare_roc({"": curves}, {finding: {"": auc} for finding, auc in aucs.items()})


def compare_roc(
    curves: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    aucs: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Draws the ROC curves of several runs, a panel per finding.

    Args:
        curves: Per run and finding false and true positive rates.
        aucs: Per finding and run the area under the curve.
    """
    findings = list(dict.fromkeys(name for run in curves.values() for name in run))
    columns = 5
    rows = max(1, -(-len(findings) // columns))
    figure = Figure(figsize=(2.1 * columns, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for panel, finding in zip(panels, [*findings, *[""] * (rows * columns)], strict=False):
        if not finding:
            panel.set_axis_off()
            continue
        panel.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
        for colour, (run, by_finding) in zip(COLOURS, curves.items(), strict=False):
            if finding in by_finding:
                label = f"{aucs[finding][run]:.3f}"
                panel.plot(*by_finding[finding], color=colour, linewidth=1.4, label=label)
        panel.set_title(finding.replace("_", " "), fontsize=9)
        panel.legend(loc="lower right", fontsize=7, frameon=False, handlelength=1, title="AUC",
                     title_fontsize=7)  # fmt: skip
        panel.set_aspect("equal")
        panel.tick_params(labelsize=7)
    figure.supxlabel("False positive rate (1 − specificity)", fontsize=9)
    figure.supylabel("True positive rate (sensitivity)", fontsize=9)
    return figure


def learning_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws training and validation loss per epoch of several runs.

    Args:
        histories: Per run its history.csv.
    """
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for colour, (run, history) in zip(COLOURS, histories.items(), strict=False):
        axes.plot(history["epoch"], history["loss"], ":", color=colour, label=f"{run}, training")
        if "val_loss" in history:
            axes.plot(
                history["epoch"], history["val_loss"], "-o", color=colour, markersize=3,
                label=f"{run}, validation",
            )  # fmt: skip
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def reliability_diagram(points: Mapping[str, Reliability]) -> Figure:
    """Draws observed frequency over predicted probability; on the diagonal they agree.

    Args:
        points: Per run the points of `jaxcxr.evaluation.calibration.reliability`.
    """
    figure = Figure(figsize=(3.8, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
    for colour, (run, bins) in zip(COLOURS, points.items(), strict=False):
        axes.plot(bins.predicted, bins.observed, "-o", color=colour, markersize=3, label=run)
    axes.set_xlabel("Predicted probability")
    axes.set_ylabel("Observed frequency")
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def overlay(
    radiograph: np.ndarray,
    heatmap: np.ndarray | None,
    annotated: np.ndarray,
    predicted: np.ndarray,
    png_size: Sequence[int],
) -> np.ndarray:
    """Draws heat map and boxes over a radiograph: annotated boxes blue, predicted green and dashed.

    Args:
        radiograph: (H, W) uint8, the whole original image at any size.
        heatmap: (h, w) of any range, or None for the radiograph with its boxes alone. It is scaled
            to its own minimum and maximum; cold places stay clear.
        annotated: (n, 4) boxes x, y, w, h in pixels of the original image, origin top left.
        predicted: (m, 4) likewise.
        png_size: Width and height of the original image in pixels.

    Returns:
        (H', W', 3) uint8, H' and W' at least 256.
    """
    height, width = radiograph.shape
    zoom = max(1.0, _SHORTEST_SIDE / min(height, width))
    height, width = round(height * zoom), round(width * zoom)
    gray = Image.fromarray(radiograph).resize((width, height), Image.Resampling.BICUBIC)
    colours = np.repeat(np.asarray(gray, np.float64)[..., None], 3, axis=2)
    if heatmap is not None:
        heat = enlarge(scale_heatmap(heatmap), width, height) / 255
        opacity = (0.55 * heat)[..., None]
        colours = (1 - opacity) * colours + opacity * 255 * _HEAT(heat)[..., :3]
    picture = Image.fromarray(np.rint(colours).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    scale = np.array([width, height, width, height]) / np.tile(np.asarray(png_size, float), 2)
    thick = max(2, round(min(height, width) / 160))
    for box in np.asarray(annotated, float).reshape(-1, 4) * scale:
        pen.rectangle(_corners(box), outline=ANNOTATED, width=thick)
    for box in np.asarray(predicted, float).reshape(-1, 4) * scale:
        _dashed_rectangle(pen, _corners(box), thick)
    return np.asarray(picture)


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
