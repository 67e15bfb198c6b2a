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
import asyncio
import signal
import sys
from asyncio.subprocess import create_subprocess_exec
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from tqdm import tqdm

from jaxcxr.cli.configs import find_config, require_config
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.cli.program import command_again
from jaxcxr.cli.trials import (
    LEARNING_RATES,
    Trial,
    is_scored,
    make_trials,
    read_shard,
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
_SEEDS = flags.DEFINE_integer("seeds", 1, "Runs with seeds 0, 1, … of each.", 1, 10_000)
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs side by side.", lower_bound=1)
_SHARD = flags.DEFINE_string("shard", "1/1", "This machine's part, as 1/4.")
define_import_flag()
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
    configs = [require_config("configs", find_config(config)) for config in _CONFIGS.value]
    trials = make_trials(configs, _KEY.value, values, _SEEDS.value)
    out, mine = Path(_OUT.value), trials[shard]
    failed, stopped_by = asyncio.run(run_trials(mine))
    summary = summarize(out, trials)
    with atomic_write(out / "sweep.csv") as temporary:
        summary.to_csv(temporary, index=False)
    print(summary_text(summary))
    if stopped_by is not None:
        again = command_again("sweep")
        print(f"stopped by {stopped_by}; what was done is saved; resume with: {again}")
        return _STOPPED_STATUS.value
    if failed:
        raise UserError(
            f"{failed} of {len(mine)} runs failed, see above; log.txt in the folder of each, under "
            f"{out}, has all that it printed"
        )
    return 0


async def run_trials(trials: Sequence[Trial]) -> tuple[int, str | None]:
    """Trains and scores runs; prints each failure when it happens.

    Returns:
        How many failed; a wrong setting ends all at once. And the signal that ended all, if any.
    """
    failed, watch, slots = 0, SignalWatch(), asyncio.Semaphore(_JOBS.value)
    tasks = {asyncio.create_task(run_trial(trial, slots)) for trial in trials}
    watch.start()
    try:
        with tqdm(total=len(tasks), desc="runs", unit="run", disable=None) as bar:
            while tasks and watch.received is None:
                done, tasks = await asyncio.wait(tasks, timeout=1, return_when="FIRST_COMPLETED")
                bar.update(len(done))
                for failure in filter(None, (task.result() for task in done)):
                    tqdm.write(failure, file=sys.stderr)
                    failed += 1
                    if _USAGE in failure:
                        return failed, watch.received
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        watch.stop()
    return failed, watch.received


async def run_trial(trial: Trial, slots: asyncio.Semaphore) -> str | None:
    """Trains and scores one run when a slot is free; returns what went wrong, if anything.

    A run that is trained is trained again at the price of importing packages: the program refuses
    a folder of other settings or data, and leaves a finished run as it is.
    """
    workdir = Path(_OUT.value) / trial.folder
    place = [f"--workdir={workdir}", f"--data_dir={_DATA_DIR.value}"]
    place += [f"--import={module}" for module in flags.FLAGS["import"].value or []]
    settings = [f"--config.{setting}" for setting in _SET.value]
    train = ["train", f"--config={trial.config}", *trial.overrides, *settings, *place]
    async with slots:
        make_folder(workdir)
        for verb, *words in (
            [*train, f"--stopped_status={_STOPPED}"],
            ["evaluate_auc", *place],
            ["evaluate_boxes", *place],
        ):
            if verb != "train" and is_scored(workdir):
                return None
            status = await call(verb, words, workdir / "log.txt")
            if status != 0:
                lines = (workdir / "log.txt").read_text(encoding="utf-8").strip().splitlines()
                errors = [line for line in lines if line.startswith("error: ")] or lines
                return f"{workdir}: {verb} ended with {_STATUS} {status}: {''.join(errors[-1:])}"
    return None


async def call(verb: str, words: Sequence[str], log: Path) -> int:
    """Runs a program and returns its exit status; when cancelled, ends it by SIGTERM.

    It has a process group of its own: Ctrl-C at the terminal comes to this process alone.
    Otherwise it would receive two signals, and not save what it did.
    """
    with open(log, "a", encoding="utf-8") as output:
        program = await create_subprocess_exec(
            sys.executable, "-m", "jaxcxr.cli", verb, *words,
            stdout=output, stderr=output, process_group=0,
        )  # fmt: skip
    try:
        return await program.wait()
    except asyncio.CancelledError:
        program.terminate()
        await program.wait()
        raise
