r"""Trains and scores many runs: a search over one setting, repeats with other seeds, or both.

The paper's search for a learning rate, and three networks with five seeds each:

    jaxcxr sweep --configs baseline --data_dir DIR --out sweeps/rate \
        --key optimizer.learning_rate
    jaxcxr sweep --configs baseline,space_attention \
        --data_dir DIR --out sweeps/networks --seeds 5

Called again, it resumes where it was stopped. On several machines with a shared folder start it
with --shard 1/4 to 4/4; --jobs starts several runs side by side on one. Each run gets a folder with
its log; sweep.csv and the terminal get the table, best first: by validation loss, or by validation
AUC where runs have different losses, label smoothings or batch sizes.

SIGTERM or Ctrl-C ends the steps under way and saves them; the sweep prints how to resume and ends
with status 0, or with --stopped_status. A second signal ends at once.
"""

# isort: split
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from absl import flags
from tqdm import tqdm

from jaxcxr.cli.configs import config_names, find_config
from jaxcxr.cli.processes import Programs
from jaxcxr.cli.program import command_again
from jaxcxr.cli.trials import (
    LEARNING_RATES,
    Trial,
    asked_of,
    is_finished,
    make_trials,
    read_shard,
    record_result,
    refuse_varied,
    split_values,
    summarize,
    summary_text,
)
from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write, make_folder
from jaxcxr.runs.signals import SignalWatch

_CONFIGS = flags.DEFINE_list("configs", None, "Config files, with commas.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where jaxcxr prepare wrote.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the sweep.", required=True)
_KEY = flags.DEFINE_string("key", "", "The setting to search over, as optimizer.learning_rate.")
_VALUES = flags.DEFINE_string(
    "values", "", "Its values, with commas; for the learning rate the paper's ten if not given."
)
_SEEDS = flags.DEFINE_integer("seeds", 1, "Runs with seeds 0, 1, … of each.", upper_bound=10_000)
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs side by side.", lower_bound=1)
_SHARD = flags.DEFINE_string("shard", "1/1", "This machine's part, as 1/4.")
_SET = flags.DEFINE_multi_string("set", [], "More settings for every run, as epochs=3.")

_STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status", 0, "Exit status of a sweep that SIGTERM or Ctrl-C stopped before its end."
)

_STATUS = "status"
_USAGE = f"{_STATUS} 2:"
"""Status of a program that does not know a flag or a setting: every other run would fail, too."""

_STOPPED = 128 + signal.SIGTERM
"""Status of a training that a signal stopped: it is not scored."""


def main() -> int:
    """Runs this machine's trials and prints the table of all finished ones; returns the status."""
    shard = read_shard(_SHARD.value)
    values = split_values(_VALUES.value)
    if _KEY.value == "optimizer.learning_rate" and not values:
        values = [str(rate) for rate in LEARNING_RATES]
    refuse_varied(_KEY.value, _SET.value)
    configs = [find_config(config) for config in _CONFIGS.value]
    trials = make_trials(configs, _KEY.value, values, _SEEDS.value)
    mine = trials[shard]
    for config in configs:
        if not Path(config).is_file():
            raise UserError(
                f"--configs names {config}: no such file; expected paths of files, or names of "
                f"configs: {', '.join(config_names())}"
            )
    todo = [trial for trial in mine if not is_finished(folder_of(trial), asked(trial))]
    failed, stopped_by = run_trials(todo)
    summary = summarize(Path(_OUT.value), trials)
    with atomic_write(Path(_OUT.value) / "sweep.csv") as aside:
        summary.to_csv(aside, index=False)
    print(summary_text(summary))
    if stopped_by is not None:
        again = command_again("sweep")
        print(f"stopped by {stopped_by}; what was done is saved; resume with: {again}")
        return _STOPPED_STATUS.value
    if failed:
        raise UserError(
            f"{failed} of {len(mine)} runs failed, see above; log.txt in the folder of each, under "
            f"{_OUT.value}, has all that it printed"
        )
    return 0


def folder_of(trial: Trial) -> Path:
    """Returns the folder of a run."""
    return Path(_OUT.value) / trial.folder


def asked(trial: Trial) -> dict[str, str]:
    """Returns what a result depends on beside the trial's folder."""
    return asked_of(trial, _DATA_DIR.value, _SET.value)


def run_trials(trials: Sequence[Trial]) -> tuple[int, str | None]:
    """Trains and scores runs; prints each failure when it happens.

    Returns:
        How many failed; a wrong setting ends all at once. And the signal that ended all, if any.
    """
    failed = 0
    watch, programs = SignalWatch(), Programs()
    watch.start()
    with ThreadPoolExecutor(_JOBS.value) as pool:
        try:
            runs = {pool.submit(run_trial, trial, programs) for trial in trials}
            for failure in results_of(runs, watch):
                tqdm.write(failure, file=sys.stderr)
                failed += 1
                if _USAGE in failure:
                    break
        finally:
            programs.stop()
            pool.shutdown(cancel_futures=True)
            watch.stop()
    return failed, watch.received


def results_of(runs: set[Future[str | None]], watch: SignalWatch) -> Iterator[str]:
    """Yields what went wrong in each run that failed, until all are done or a signal comes."""
    with tqdm(total=len(runs), desc="runs", unit="run", disable=None) as bar:
        while runs and watch.received is None:
            done, runs = wait(runs, timeout=1, return_when=FIRST_COMPLETED)
            bar.update(len(done))
            yield from filter(None, (run.result() for run in done))


def run_trial(trial: Trial, programs: Programs) -> str | None:
    """Trains and scores one run; returns what went wrong, if anything."""
    workdir = folder_of(trial)
    make_folder(workdir)
    begun_with = asked(trial)
    place = [f"--workdir={workdir}", f"--data_dir={_DATA_DIR.value}"]
    settings = [f"--config.{setting}" for setting in _SET.value]
    train = ["train", f"--config={trial.config}", *trial.overrides, *settings, *place]
    for verb, *arguments in (
        [*train, f"--stopped_status={_STOPPED}"],
        ["evaluate_auc", *place],
        ["evaluate_boxes", *place],
    ):
        try:
            with open(workdir / "log.txt", "a", encoding="utf-8") as log:
                status = programs.call([sys.executable, "-m", "jaxcxr.cli", verb, *arguments], log)
        except OSError as error:
            return f"{workdir}: {verb} could not be started: {error.strerror}"
        if status is None:
            return None
        if status != 0:
            lines = (workdir / "log.txt").read_text(encoding="utf-8").strip().splitlines()
            errors = [line for line in lines if line.startswith("error: ")] or lines
            reason = errors[-1] if errors else "log.txt is empty: perhaps the disk is full"
            return f"{workdir}: {verb} ended with {_STATUS} {status}: {reason}"
    record_result(workdir, begun_with)
    return None
