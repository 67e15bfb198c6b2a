"""What the programs that score a run, or a file of any system, share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.data.releases.nih import Release, read_release

if TYPE_CHECKING:
    from jaxcxr.data.pipeline import Data
    from jaxcxr.inference.predictor import Predictor

flags.disclaim_key_flags()  # they are those of the program that defines them


def define_release_flags(required: bool) -> None:
    """Defines the flags of what scores are computed from: a release, and draws for intervals."""
    flags.DEFINE_string(
        "release", None, "Folder of the release; its lists suffice.", required=required
    )
    flags.DEFINE_enum(
        "split", "all", ["all", "test"], "Use all radiographs, or the official test list's only."
    )
    flags.DEFINE_integer("bootstraps", 1000, "Draws per interval.", 2, 1_000_000)
    flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0)


def define_flags(scored: str) -> None:
    """Defines the flags that name a run, or a file of any system and a release.

    Args:
        scored: Name of the flag of the file.
    """
    flags.DEFINE_string("workdir", None, "Folder of a run.")
    flags.DEFINE_string("data_dir", None, "Where jaxcxr prepare wrote.")
    flags.DEFINE_string(scored, None, "CSV file of any system.")
    flags.DEFINE_string("out", None, f"Folder for the scores of --{scored}.")
    flags.DEFINE_integer("batch_size", 64, "Radiographs at a time.", lower_bound=1)
    define_release_flags(required=False)
    define_import_flag()
    flags.register_multi_flags_validator(
        ["workdir", "data_dir", scored, "release", "out"],
        lambda given: (
            {name for name, value in given.items() if value}
            in ({"workdir", "data_dir"}, {scored, "release", "out"})
        ),
        message="give --workdir and --data_dir to score a run, "
        f"or --{scored}, --release and --out to score a file",
    )


def score(
    scored: str,
    run: Callable[[Path, Predictor, Data], None],
    file: Callable[[str, Path, Release], None],
) -> None:
    """Scores what the flags name.

    Args:
        scored: Name of the flag of the file.
        run: Scores a run, given its folder, its network and the dataset it was trained on.
        file: Scores a file, given its path, the folder for the scores and the release.
    """
    given = flags.FLAGS
    if given.workdir:
        from jaxcxr import data
        from jaxcxr.inference.predictor import Predictor, require_all_findings
        from jaxcxr.runs.workdir import read_variant, trained_on_other_data

        workdir = Path(given.workdir)
        predictor = Predictor.from_run(workdir)
        require_all_findings(predictor)
        prepared = data.load(given.data_dir, **dataclasses.asdict(read_variant(workdir)))
        if remark := trained_on_other_data(workdir, prepared.facts):
            print(f"note: {remark}")
        run(workdir, predictor, prepared)
    else:
        release = read_release(given.release, require_images=False)
        for note in release.notes:
            print(f"note: {note}")
        file(str(given[scored].value), Path(given.out), release)
