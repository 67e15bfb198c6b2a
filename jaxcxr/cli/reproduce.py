r"""Does the paper's complete study on a release: three networks, several seeds, all scores.

    jaxcxr reproduce --release ~/nih --out reproduction

Prints a plan with an estimate of the time first (--plan: nothing else). Then it prepares the
release where that is not done, trains and scores each network with each seed, and writes under
--out

    reproduction.md      mean ± standard deviation over seeds, beside the paper's Tables 1, 2 and 3
    reproduction.csv     the same for every score and threshold
    report.html          a report of the best run (lowest validation loss) of each network
    models/              the model folders of these runs, each with a model card
    runs/, datasets/     runs and prepared dataset (elsewhere with --data_dir)

Called again, it resumes where it was stopped. SIGTERM or Ctrl-C ends the training step under way
and saves it. Without --release the dataset that jaxcxr prepare wrote to --data_dir is used.
"""

# isort: split
import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from absl import flags

from jaxcxr import data
from jaxcxr.cli.configs import find_config, require_config
from jaxcxr.cli.program import command_again
from jaxcxr.cli.run_trials import TrialRunner
from jaxcxr.cli.scoring import NOT_COMPARABLE, print_notes
from jaxcxr.cli.time_left import epochs_done, is_done, print_time, read_experiment
from jaxcxr.cli.trials import Trial, refuse_shared_folders, refuse_varied
from jaxcxr.data.splits import SPLITS, is_nih_test_list, split_by_patient
from jaxcxr.data.variant import Variant
from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write, write_text
from jaxcxr.reporting.reproduction import means_text, reproduction_page, reproduction_table
from jaxcxr.reporting.runs import RunFiles, read_runs

if TYPE_CHECKING:
    from jaxcxr.runs.experiment import Experiment

_RELEASE = flags.DEFINE_multi_string(
    "release", [], "Folder of the release; may be repeated: the dataset then has all of them."
)
_OUT = flags.DEFINE_string("out", None, "Folder of the study.", required=True)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of prepared datasets; if not given, OUT/datasets."
)
_CONFIGS = flags.DEFINE_list(
    "configs", ["baseline", "space_attention", "attention_gated"], "Config files, with commas."
)
_SEEDS = flags.DEFINE_list(
    "seeds", ["3"], "Number of runs of each network (3: seeds 0, 1, 2), or their seeds: 0,4,7."
)
_PLAN = flags.DEFINE_bool("plan", False, "Print the plan and end.")
flags.DEFINE_integer("image_size", 256, "Height and width of the radiographs, in pixels.")
flags.DEFINE_integer("epochs", None, "Greatest number of epochs; if not given, the config's.")
flags.DEFINE_integer("batch_size", None, "Radiographs per step; if not given, the config's.")
flags.DEFINE_string("initial_weights", None, "imagenet or random; if not given, the config's.")
_SET = flags.DEFINE_multi_string(
    "set", [], "More settings for every run, as optimizer.learning_rate=1e-3."
)
_STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status", 0, "Exit status of a study that SIGTERM or Ctrl-C stopped before its end."
)


def main() -> int:
    """Does what is left of the study; returns the exit status."""
    from jaxcxr.models.weights import imagenet  # imports JAX

    settings, seeds = _settings(), _seeds()
    configs = [require_config("configs", find_config(config)) for config in _CONFIGS.value]
    experiments = {config: read_experiment(config, settings) for config in configs}
    trials = [Trial(config, "", "", seed) for seed in seeds for config in configs]
    refuse_shared_folders(trials)
    out = Path(_OUT.value)
    data_dir = _DATA_DIR.value or str(out / "datasets")
    variant = Variant(**experiments[configs[0]].config.data)
    releases = [data.read_release(folder) for folder in _RELEASE.value]
    for release in releases:
        print_notes(release.notes)
    facts = dataset_facts(variant, data_dir, releases)
    for trial in trials:
        state = _state(out / "runs" / trial.folder, experiments[trial.config])
        print(f"{trial.folder:<40}{state}")
    print_time(out / "runs", trials, experiments, settings, facts)
    if _PLAN.value:
        return 0
    for experiment in experiments.values():
        if experiment.initial_weights == "imagenet":  # missing ones should be known now
            imagenet.fetch(type(experiment.model.backbone).__name__)
    if releases:
        data.prepare(releases, data_dir, **dataclasses.asdict(variant))
    failed, stopped_by = asyncio.run(TrialRunner(out / "runs", data_dir, settings).run(trials))
    if stopped_by is not None:
        again = command_again("reproduce")
        print(f"stopped by {stopped_by}; what was done is saved; resume with: {again}")
        return _STOPPED_STATUS.value
    if failed:
        raise UserError(
            f"{failed} of {len(trials)} runs failed, see above; log.txt in the folder of each has "
            "all that it printed"
        )
    write_results(out, trials, facts)
    return 0


def _settings() -> list[str]:
    """Returns the settings of every run, as "epochs=3"."""
    given = {name: flags.FLAGS[name].value for name in ("epochs", "batch_size", "initial_weights")}
    given["data.image_size"] = flags.FLAGS.image_size
    settings = [f"{name}={value}" for name, value in given.items() if value is not None]
    refuse_varied("", _SET.value)
    return [*settings, *_SET.value]


def _seeds() -> Sequence[int]:
    try:
        numbers = [int(seed) for seed in _SEEDS.value]
        seeds = numbers if len(numbers) > 1 else range(numbers[0])
        if min(seeds) < 0:
            raise ValueError
    except ValueError:
        raise UserError(
            f"seeds are {','.join(_SEEDS.value)}; expected how many, or several with commas: 0,1,2",
            argument="seeds",
        ) from None
    return seeds


def dataset_facts(
    variant: Variant, data_dir: str, releases: Sequence[data.Release]
) -> Mapping[str, Any]:
    """Returns what is known about the dataset before it is prepared, or what it says itself.

    Prints it, with a note where scores do not compare with the published ones.
    """
    folder = variant.folder(data_dir)
    if not (prepared := folder.is_dir()) and not releases:
        raise UserError(
            f"{folder}: no such dataset; name the release to prepare", argument="release"
        )
    if prepared:
        facts = data.load(data_dir, **dataclasses.asdict(variant)).facts
    else:
        images = pd.concat(
            part.images.assign(split=split_by_patient(part.images, variant.split_seed))
            for part in releases
        )
        test = images.loc[images["split"] == "test", "image_name"]
        facts = {**images["split"].value_counts(), "nih_test_list": is_nih_test_list(test)}
    counts = ", ".join(f"{name} {facts[name]:,}" for name in SPLITS)
    print(f"{folder}: {counts}; {'prepared' if prepared else 'to be prepared'}")
    if not facts["nih_test_list"]:
        print_notes([NOT_COMPARABLE])
    return facts


def _state(workdir: Path, experiment: "Experiment") -> str:
    if is_done(workdir, experiment):
        return "done"
    epochs = len(epochs_done(workdir))
    return f"epochs done: {epochs}" if epochs else "to do"


def write_results(out: Path, trials: Sequence[Trial], facts: Mapping[str, Any]) -> None:
    """Writes tables, report and model folders of the finished runs, and prints the means."""
    from jaxcxr.inference.predictor import load_model
    from jaxcxr.reporting.report import write_report

    runs: dict[str, list[RunFiles]] = {}
    for trial in trials:
        name = Path(trial.config).stem
        (run,) = read_runs([out / "runs" / trial.folder])
        named = dataclasses.replace(run, name=f"{name}, seed {trial.seed}")
        runs.setdefault(name, []).append(named)
    table = reproduction_table(runs)
    with atomic_write(out / "reproduction.csv") as temporary:
        table.to_csv(temporary, index=False)
    write_text(out / "reproduction.md", reproduction_page(table, facts["nih_test_list"]))
    best = {
        name: min(group, key=lambda run: run.history["val_loss"].min())
        for name, group in runs.items()
    }
    write_report([*best.values()], out / "report.html")
    for name, run in best.items():
        folder = out / "models" / name / run.workdir.name
        if not folder.exists():
            model = load_model(str(run.workdir))
            source = {**model.source, "name": run.name}
            dataclasses.replace(model, source=source).save(folder)
    print(means_text(table))
    print(f"written to {out}: reproduction.md, reproduction.csv, report.html, models/")
