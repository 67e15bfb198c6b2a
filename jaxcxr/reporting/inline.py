"""Pictures as text inside a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

_SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "figure"}


def figure_uri(figure: Figure) -> str:
    """Returns a figure as the data URI of an SVG; equal figures give equal text."""
    svg = io.BytesIO()
    with matplotlib.rc_context(_SVG):
        figure.savefig(svg, format="svg", metadata={"Date": None}, transparent=True)
    return _data_uri("image/svg+xml", svg.getvalue())


def photograph_uri(pixels: np.ndarray) -> str:
    """Returns (H, W, 3) uint8 pixels as the data URI of a JPEG of high quality."""
    jpeg = io.BytesIO()
    # Without subsampling thin colored lines stay crisp.
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=88, subsampling=0, optimize=True)
    return _data_uri("image/jpeg", jpeg.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
