"""Figures: ROC curves, learning curves and reliability.

Colors are Okabe and Ito's (2008), which color-blind readers can distinguish.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from jaxcxr.evaluation.boxes import PAPER_CUT
from jaxcxr.evaluation.calibration import Reliability

Curve = tuple[np.ndarray, np.ndarray]
"""False and true positive rates, (P,) each."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

_SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "figure"}


def run_color(index: int) -> str:
    """Returns the color of a report's run, the same in all figures; the eighth has the first's."""
    return COLORS[index % len(COLORS)]


def roc_figure(curves: Mapping[str, Curve]) -> Figure:
    """Draws the ROC curve of each finding, and the area under it, in a panel of its own.

    Args:
        curves: Per finding false and true positive rates.
    """
    columns = 5
    rows = max(1, -(-len(curves) // columns))
    figure = Figure(figsize=(2.1 * columns, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, (finding, curve) in zip(panels, curves.items(), strict=False):
        _draw_roc(panel, [curve])
        panel.text(1, 0.02, f"AUC {np.trapezoid(curve[1], curve[0]):.3f}", ha="right", fontsize=8)
        panel.set_title(finding.replace("_", " "), fontsize=9)
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    figure.supxlabel("False positive rate (1 − specificity)", fontsize=9)
    figure.supylabel("True positive rate (sensitivity)", fontsize=9)
    return figure


def roc_panel(curves: Sequence[Curve]) -> Figure:
    """Draws the ROC curves of several runs for one finding.

    Args:
        curves: Per run false and true positive rates; an empty curve keeps its run's color free.
    """
    axes = _axes(2.4, 2.4, "1 − specificity", "Sensitivity")
    _draw_roc(axes, curves)
    return cast(Figure, axes.figure)


def _axes(width: float, height: float, xlabel: str, ylabel: str) -> Axes:
    """Returns the axes of a figure, its sides in inches."""
    axes = Figure(figsize=(width, height), layout="constrained").subplots()
    _label(axes, xlabel, ylabel)
    return axes


def _label(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_roc(panel: Axes, curves: Sequence[Curve]) -> None:
    panel.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
    for index, curve in enumerate(curves):
        panel.plot(*curve, color=run_color(index), linewidth=1.3)
    panel.set(aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    panel.tick_params(labelsize=8, length=2)
    panel.spines[["top", "right"]].set_visible(False)


def learning_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws training and validation loss per epoch of several runs.

    Args:
        histories: Per run its history.csv; one without rows keeps its run's color free.
    """
    axes = _axes(5, 3.2, "Epoch", "Loss")
    for index, (run, history) in enumerate(histories.items()):
        if history.empty:
            continue
        style = {"color": run_color(index), "linewidth": 1.4, "markersize": 4}
        axes.plot(history["epoch"], history["loss"], ":o", markerfacecolor="white", **style)
        if "val_loss" in history:
            axes.plot(history["epoch"], history["val_loss"], "-o", **style)
        axes.plot([], [], "-", label=run, **style)
    axes.plot([], [], ":o", color="0.3", markerfacecolor="white", markersize=4, label="training")
    axes.plot([], [], "-o", color="0.3", markersize=4, label="validation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)
    return cast(Figure, axes.figure)


def reliability_diagram(points: Mapping[str, Reliability]) -> Figure:
    """Draws observed frequency over predicted probability; on the diagonal they agree.

    Args:
        points: Per run the points of `jaxcxr.evaluation.calibration.reliability`; a run without
            points keeps its color free.
    """
    axes = _axes(3.8, 3.6, "Predicted probability", "Observed frequency")
    axes.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
    for index, (run, bins) in enumerate(points.items()):
        if len(bins.predicted):
            style = {"color": run_color(index), "linewidth": 1.4, "markersize": 4, "label": run}
            axes.plot(bins.predicted, bins.observed, "-o", **style)
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return cast(Figure, axes.figure)


def cut_curves(cuts: Mapping[str, pd.DataFrame]) -> Figure:
    """Draws the part of boxes found, on average over the findings, over the cut of heat maps.

    Args:
        cuts: Per run its localization_cuts.csv; one without rows keeps its run's color free. The
            curve of the first scale is solid, that of a second one dotted.
    """
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    levels = ("IoU > 0.1", "IoU > 0.3", "IoU > 0.5")
    for axes, level in zip(figure.subplots(1, 3), levels, strict=True):
        axes.axvline(PAPER_CUT, color="0.75", linewidth=0.8)
        for index, table in enumerate(cuts.values()):
            if table.empty:
                continue
            means = table[(table["finding"] == "Mean") & (table["cut"] != "otsu")]
            for line, (_, scores) in zip("-:", means.groupby("scale", sort=False), strict=False):
                at = scores["cut"].astype(float)
                axes.plot(at, scores[level], line, color=run_color(index), linewidth=1.4)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        _label(axes, "Cut", f"Boxes found, {level}")
    return figure


def figure_uri(figure: Figure) -> str:
    """Returns a figure as the data URI of an SVG; equal figures give equal text."""
    svg = io.BytesIO()
    with matplotlib.rc_context(_SVG):
        figure.savefig(svg, format="svg", metadata={"Date": None}, transparent=True)
    return _data_uri("image/svg+xml", svg)


def photograph_uri(pixels: np.ndarray) -> str:
    """Returns (H, W, 3) uint8 pixels as the data URI of a JPEG of high quality."""
    jpeg = io.BytesIO()
    # Without subsampling thin colored lines stay crisp.
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=88, subsampling=0, optimize=True)
    return _data_uri("image/jpeg", jpeg)


def _data_uri(kind: str, content: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
