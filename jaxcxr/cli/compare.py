"""Compares the AUCs of two systems on the same radiographs.

jaxcxr compare A/predictions.csv B/predictions.csv --release DIR

Prints for every finding both AUCs, their difference with its 95 % interval (bootstrap over
patients) and the p-value of DeLong's test (patients as clusters), plain and corrected by Holm for
the number of findings. --out also writes the table as CSV.
"""

# isort: split
from absl import flags

from jaxcxr.cli.scoring import define_release_flags, print_notes
from jaxcxr.data.releases.sources import read_release
from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.comparison import paired_table
from jaxcxr.files import refuse_overwriting_inputs
from jaxcxr.reporting.score_text import paired_text

_OUT = flags.DEFINE_string("out", None, "CSV file to write the table to.")
define_release_flags(required=True)

POSITIONAL = "files"
"""What the words that are not flags mean."""


def main(paths: list[str]) -> None:
    """Compares the two files named."""
    if len(paths) != 2:
        raise UserError(f"{len(paths)} files are named; expected two: A.csv B.csv")
    if _OUT.value:
        refuse_overwriting_inputs([_OUT.value], paths)
    images = read_release(flags.FLAGS.release, require_images=False).images
    read = [tables.read_predictions(path, images["image_name"]) for path in paths]
    print_notes(note for _, notes in read for note in notes)
    a, b = (table.set_index(tables.IMAGE) for table, _ in read)
    labels = tables.label_table(images, [name for name in a.index if name in b.index])
    if flags.FLAGS.split == "test":
        labels = labels.loc[tables.on_test_list(labels, images)]
    if labels.empty:
        raise UserError(f"{paths[0]} and {paths[1]} have no radiograph to compare on in common")
    for letter, path, table in (("A", paths[0], a), ("B", paths[1], b)):
        print(f"{letter}: {path}, {len(labels)} of its {len(table)} radiographs compared")
    names = list(labels[tables.IMAGE])
    result = paired_table(
        labels, a.loc[names], b.loc[names], bootstraps=flags.FLAGS.bootstraps, seed=flags.FLAGS.seed
    )
    print(paired_text(result))
    if _OUT.value:
        tables.write(result, _OUT.value)
