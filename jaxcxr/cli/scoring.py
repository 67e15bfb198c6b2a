"""What the programs that score a model, or a file of any system, share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from absl import flags

from jaxcxr.cli.cpu_devices import use_device_per_core
from jaxcxr.cli.models import define_model_flags, model_named, own_folder, prepared_data
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.data.phantom import MARKER
from jaxcxr.data.releases.release import Release
from jaxcxr.data.releases.sources import read_release
from jaxcxr.data.splits import is_nih_test_list
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.fields import listed
from jaxcxr.findings import FINDINGS

if TYPE_CHECKING:
    from jaxcxr.data.pipeline import Data
    from jaxcxr.inference.predictor import Predictor

NOT_COMPARABLE = (
    "the test radiographs are not those of NIH's official test list; scores on them do not compare "
    "with published ones"
)

flags.disclaim_key_flags()  # they are those of the program that defines them


def define_release_flags() -> None:
    """Defines the flags of what scores are computed from: a release, and draws for intervals."""
    flags.DEFINE_string("release", None, "Folder of the release; its lists suffice.")
    flags.DEFINE_enum(
        "split", "all", ["all", "test"], "Use all radiographs, or the official test list's only."
    )
    flags.DEFINE_integer("bootstraps", 1000, "Draws per interval.", 2, 1_000_000)
    flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0)


def define_flags(scored: str, instead_of_release: str | None = None) -> None:
    """Defines the flags that name a model, or a file of any system and a release.

    Args:
        scored: Name of the flag of the file.
        instead_of_release: Name of a flag for a file of labels, with or without a release.
    """
    truths = [{"release"}]
    if instead_of_release:
        flags.DEFINE_string(instead_of_release, None, "CSV file of labels of one's own.")
        truths += [{instead_of_release}, {instead_of_release, "release"}]
    or_labels = f" (or --{instead_of_release})" if instead_of_release else ""
    define_model_flags(required=False)
    flags.DEFINE_string("data_dir", None, "Where jaxcxr prepare wrote.")
    flags.DEFINE_string(scored, None, "CSV file of any system.")
    flags.DEFINE_string("out", None, "Folder for the scores; default: the model's.")
    flags.DEFINE_integer("batch_size", 64, "Radiographs at a time.", lower_bound=1)
    define_release_flags()
    define_import_flag()
    flags.register_multi_flags_validator(
        ["model", "workdir", "data_dir", "out", scored, *set().union(*truths)],
        lambda given: (
            {name for name, value in given.items() if value}
            in (
                {"model", "data_dir"},
                {"model", "data_dir", "out"},
                {"workdir", "data_dir"},
                {"workdir", "data_dir", "out"},
                *({scored, "out", *truth} for truth in truths),
            )
        ),
        message="give --model (or --workdir) and --data_dir to score a model, "
        f"or --{scored}, --release{or_labels} and --out to score a file",
    )


def score(
    scored: str,
    model: Callable[[Predictor, Data, Path], None],
    file: Callable[[str, Path, Release | None], None],
) -> None:
    """Scores what the flags name.

    Args:
        scored: Name of the flag of the file.
        model: Scores a trained model, given a prepared dataset and the folder for the scores.
        file: Scores a file, given its path, the folder for the scores and the release, if any.
    """
    given = flags.FLAGS
    if given.model or given.workdir:
        from jaxcxr.inference.predictor import load_model
        from jaxcxr.runs.workdir import trained_on_other_data

        use_device_per_core()
        remedy = "name a folder for the scores"
        out = Path(given.out) if given.out else own_folder(remedy, "out") / "evaluation"
        predictor, prepared = prepared_data(load_model(model_named()), given.data_dir)
        if remark := trained_on_other_data(str(predictor.folder), prepared.facts):
            print(f"note: {remark}")
        if not (prepared.facts["nih_test_list"] or prepared.facts["synthetic"]):
            print_notes([NOT_COMPARABLE])
        model(predictor, prepared, out)
    else:
        release = scored_release() if given.release else None
        file(str(given[scored].value), Path(given.out), release)


def scored_release() -> Release:
    """Reads the lists of --release and prints what was decided on the way."""
    release = read_release(flags.FLAGS.release, require_images=False)
    print_notes(release.notes)
    test = release.images["official_split"] == "test"
    synthetic = (release.root / MARKER).is_file()
    if not synthetic and not is_nih_test_list(release.images.loc[test, "image_name"]):
        print_notes([NOT_COMPARABLE])
    return release


def chosen_labels(own: str | None, release: Release | None) -> pd.DataFrame:
    """Returns the labels of the release, or those of a file, about the release's radiographs."""
    of_release = None if release is None else tables.label_table(release.images)
    if own is None:
        assert of_release is not None, "the flags name one of the two"
        return of_release
    known = None if of_release is None else of_release[tables.IMAGE]
    labels, others = tables.read_labels(own, FINDINGS, known)
    print(f"{own}: labels of {len(labels)} radiographs")
    print_notes([f"{own}: columns that are not used: {listed(others)}"] if others else [])
    if of_release is None:
        return labels
    return of_release[[*tables.PEOPLE]].merge(labels.drop(columns=tables.PATIENT), on=tables.IMAGE)


def print_notes(notes: Iterable[str]) -> None:
    """Prints what a reader decided, one line each."""
    for note in notes:
        print(f"note: {note}")
