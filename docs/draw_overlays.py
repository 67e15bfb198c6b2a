"""Draws README's picture from the demo: per finding the case of median overlap.

python docs/draw_overlays.py demo/localizer docs/overlays.png
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from jaxcxr.evaluation.boxes import iou
from jaxcxr.images.grid import Grid
from jaxcxr.images.square import Square
from jaxcxr.reporting.figures import overlay

FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax", "Pneumonia", "Infiltration")
KEY = ["Image Index", "Finding Label"]
BOX = ["x", "y", "w", "h"]


def main(run: Path, out: Path) -> None:
    """Writes the picture: radiographs with their annotated box above, heat maps below."""
    folder = run / "evaluation"
    cases = np.load(folder / "cases.npz", allow_pickle=False)
    annotated = pd.read_csv(folder / "annotated_boxes.csv")
    predicted = pd.read_csv(folder / "boxes.csv").drop_duplicates(KEY)
    both = annotated.merge(predicted, "left", on=KEY, suffixes=("", "_predicted"))
    guesses = both[[f"{name}_predicted" for name in BOX]].to_numpy(float)
    truths = both[BOX].to_numpy(float)
    both["overlap"] = iou(guesses, truths)
    columns = []
    for finding in FINDINGS:
        ranked = both.loc[both["Finding Label"] == finding].sort_values("overlap")
        case = int(ranked.index[len(ranked) // 2])
        image = cases["case_image"][case]
        radiograph, size = cases["images"][image], cases["png_size"][image]
        square = Square.fit(*size, len(radiograph), str(cases["square"]))
        grid = square.in_original(Grid(*cases["grid"]), Grid(*cases["grid"]))
        radiograph = square.crop(radiograph)
        plain = overlay(radiograph, None, truths[case], np.zeros((0, 4)), size)
        heat = cases["heatmaps"][case]
        drawn = overlay(radiograph, heat, truths[case], guesses[case], size, grid)
        columns.append(np.concatenate([plain, drawn]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
