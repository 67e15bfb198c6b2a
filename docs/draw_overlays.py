"""Draws README's picture from the demo: the best and the worst case of five findings, by IoU.

python docs/draw_overlays.py demo/localizer docs/overlays.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from jaxcxr.reporting.gallery import galleries
from jaxcxr.reporting.runs import read_runs

FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax", "Pneumonia", "Infiltration")
RANKS = ("Best", "Worst")


def main(workdir: Path, out: Path) -> None:
    """Writes the picture: a column per finding, the best cases above the worst ones."""
    (run,) = read_runs([workdir])
    figure, axes = plt.subplots(len(RANKS), len(FINDINGS), figsize=(11, 4.9), layout="constrained")
    for column, gallery in zip(axes.T, galleries({run.name: run.cases}, FINDINGS), strict=True):
        cases = {case.rank: case for case in gallery.chosen}
        for axis, rank in zip(column, RANKS, strict=True):
            axis.imshow(cases[rank].pictures[run.name])
            axis.set_title(f"{gallery.finding}, IoU {cases[rank].iou:.2f}", fontsize=9)
            axis.axis("off")
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
