"""What each fault of the published scoring does to the accuracy of one run's boxes.

python benchmarks/published_faults.py WORKDIR

Reads what jaxcxr evaluate_boxes wrote under WORKDIR/evaluation.
"""

import argparse
from pathlib import Path

import numpy as np

from jaxcxr.evaluation import tables
from jaxcxr.evaluation.outcome import Level, localization_table
from jaxcxr.evaluation.published_protocol import NO_FAULTS, PUBLISHED, Faults, published_outcome

LEVELS: list[Level] = [("IoU", 0.1), ("IoU", 0.3), ("IoBB", 0.25), ("IoBB", 0.5)]
SPLIT_METHODS = {
    "correct": NO_FAULTS,
    "overwritten rows": Faults(True, False, False),
    "swapped boxes": Faults(False, True, False),
    "pixel rules": Faults(False, False, True),
    "all three (published)": PUBLISHED,
}


def main() -> None:
    """Prints the mean accuracy over findings for each fault alone and for all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workdir", type=Path, help="folder of a run with scored boxes")
    folder = parser.parse_args().workdir / "evaluation"
    if not (folder / "cases.npz").is_file():
        parser.error(f"{folder}/cases.npz: no such file; run jaxcxr evaluate_boxes first")
    with np.load(folder / "cases.npz") as cases:
        names = cases["image_names"]
    annotated, _ = tables.read_boxes(folder / "annotated_boxes.csv", names)
    predicted, _ = tables.read_boxes(folder / "boxes.csv", names)
    print(f"{len(annotated)} annotated boxes on {len(names)} radiographs")
    print(f"{'':<24}" + "".join(f"{f'{metric} {t:g}':>10}" for metric, t in LEVELS))
    for name, faults in SPLIT_METHODS.items():
        table = localization_table(published_outcome(annotated, predicted, faults))
        means = table[table["finding"] == "Mean"].set_index(["metric", "threshold"])["accuracy"]
        print(f"{name:<24}" + "".join(f"{means[level]:>10.3f}" for level in LEVELS))


if __name__ == "__main__":
    main()
