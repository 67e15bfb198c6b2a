"""Draws README's picture from the demo: the case of median IoU of each of five findings.

python docs/draw_overlays.py demo/localizer docs/overlays.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcxr.reporting.gallery import galleries
from jaxcxr.reporting.runs import read_runs

FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax", "Pneumonia", "Infiltration")


def main(workdir: Path, out: Path) -> None:
    """Writes the picture: radiographs with their annotated box above, heat maps below."""
    (run,) = read_runs([workdir])
    columns = []
    for gallery in galleries({run.name: run.cases}, FINDINGS):
        (median,) = (case for case in gallery.chosen if case.rank == "Median")
        columns.append(np.concatenate([median.plain, median.pictures[run.name]]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
