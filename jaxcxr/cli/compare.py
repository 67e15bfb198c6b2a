"""Compares two systems on the same radiographs: their AUCs, or how their boxes fit.

jaxcxr compare A/predictions.csv B/predictions.csv --release DIR
jaxcxr compare --boxes A/boxes.csv --boxes B/boxes.csv --release DIR
jaxcxr compare --a runs/a1,runs/a2,runs/a3 --b runs/b1,runs/b2,runs/b3 --release DIR

Prints for every finding both scores, their difference with its 95 % interval (bootstrap over
patients) and a p-value: of DeLong's test for AUCs (patients as clusters), of exchanging the systems
at random per patient for boxes; plain and corrected by Holm for the number of findings.

A system may be several runs, or files of them, separated by commas: then scores are means over the
runs, and the standard deviation over the runs, an interval and a p-value over runs and patients
are shown, too. A folder stands for its evaluation/predictions.csv or boxes.csv.

--labels compares AUCs by labels of one's own. --out also writes the table as CSV.
"""

# isort: split
from pathlib import Path

import pandas as pd
from absl import flags

from jaxcxr.cli import box_files
from jaxcxr.cli.scoring import chosen_labels, define_release_flags, print_notes, scored_release
from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.comparison import paired_boxes_table, paired_table
from jaxcxr.files import refuse_overwriting_inputs
from jaxcxr.reporting.score_text import paired_boxes_text, paired_text

FLAGS = flags.FLAGS
_A = flags.DEFINE_list("a", None, "Runs or files of the first system.")
_B = flags.DEFINE_list("b", None, "Runs or files of the second system.")
_BOXES = flags.DEFINE_multi_string(
    "boxes", None, "Files of boxes of a system, separated by commas; give it twice."
)
_LABELS = flags.DEFINE_string("labels", None, "CSV file of labels of one's own.")
_OUT = flags.DEFINE_string("out", None, "CSV file to write the table to.")
define_release_flags()
flags.adopt_module_key_flags(box_files)
flags.register_multi_flags_validator(
    ["release", "labels"],
    lambda given: any(value is not None for value in given.values()),
    message="--release is required, or --labels",
)

POSITIONAL = "files"
"""What the words that are not flags mean."""


def main(words: list[str]) -> None:
    """Compares the two systems named."""
    file = "boxes.csv" if _BOXES.value else "predictions.csv"
    named = [*words, *(_BOXES.value or []), *(",".join(x) for x in (_A.value, _B.value) if x)]
    systems = [[_file_of(name, file) for name in system.split(",")] for system in named]
    if len(systems) != 2:
        raise UserError(f"{len(systems)} systems are named; expected two: A.csv B.csv")
    paths = [path for system in systems for path in system]
    if _OUT.value:
        refuse_overwriting_inputs([_OUT.value], paths)
    table, text = (compare_boxes if _BOXES.value else compare_predictions)(systems)
    print(text)
    if _OUT.value:
        tables.write(table, _OUT.value)


def _file_of(name: str, file: str) -> str:
    """Returns the file of scores that a name means: itself, or that of a run's folder."""
    folder = Path(name)
    places = [folder / "evaluation" / file, folder / file] if folder.is_dir() else [folder]
    return str(next((place for place in places if place.is_file()), places[0]))


def compare_predictions(systems: list[list[str]]) -> tuple[pd.DataFrame, str]:
    """Compares files of probabilities on the radiographs that all of them have."""
    release = scored_release() if FLAGS.release else None
    labels = chosen_labels(_LABELS.value, release)
    runs = [[_predictions(path, labels) for path in system] for system in systems]
    every = [run for system in runs for run in system]
    common = set.intersection(*(set(run.index) for run in every))
    labels = labels.loc[labels[tables.IMAGE].isin([*common])]
    if release is not None and FLAGS.split == "test":
        labels = labels.loc[tables.on_test_list(labels, release.images)]
    if labels.empty:
        named = " and ".join(",".join(system) for system in systems)
        raise UserError(f"{named} have no radiograph to compare on in common")
    for letter, paths, system in zip("AB", systems, runs, strict=True):
        for path, run in zip(paths, system, strict=True):
            print(f"{letter}: {path}, {len(labels)} of its {len(run)} radiographs compared")
    names = list(labels[tables.IMAGE])
    a, b = ([run.loc[names] for run in system] for system in runs)
    table = paired_table(labels, a, b, bootstraps=FLAGS.bootstraps, seed=FLAGS.seed)
    return table, paired_text(table)


def _predictions(path: str, labels: pd.DataFrame) -> pd.DataFrame:
    table, notes = tables.read_predictions(
        path, labels[tables.IMAGE], leave_out_unknown=bool(_LABELS.value)
    )
    print_notes(notes)
    return table.set_index(tables.IMAGE)


def compare_boxes(systems: list[list[str]]) -> tuple[pd.DataFrame, str]:
    """Compares files of boxes on all annotated boxes of the release."""
    if not FLAGS.release:
        raise UserError("give the release that has the annotated boxes", argument="release")
    release = scored_release()
    annotated = box_files.annotated_boxes(release)
    runs = [
        [box_files.predicted_boxes(path, annotated, release) for path in system]
        for system in systems
    ]
    if FLAGS.split == "test":
        annotated = annotated.loc[annotated["official_split"] == "test"]
    if annotated.empty:
        raise UserError(f"{release.root}: no annotated boxes to compare with")
    for letter, paths in zip("AB", systems, strict=True):
        print(f"{letter}: {', '.join(paths)}")
    table = paired_boxes_table(annotated, *runs, bootstraps=FLAGS.bootstraps, seed=FLAGS.seed)
    return table, paired_boxes_text(table)
