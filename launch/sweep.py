r"""Trains and scores many runs: a search over one setting, repeats with other seeds, or both.

The paper's search for a learning rate, and three networks with five seeds each:

    python launch/sweep.py --configs configs/baseline.py --data_dir DIR --out sweeps/rate \
        --key optimizer.learning_rate
    python launch/sweep.py --configs configs/baseline.py,configs/space_attention.py \
        --data_dir DIR --out sweeps/networks --seeds 5

Called again, it goes on where it was stopped. On several machines with a shared folder start it
with --shard 1/4 to 4/4; --jobs starts several runs side by side on one. Each run gets a folder with
its log; sweep.csv and the terminal get the table, best validation loss first.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from absl import flags
from tqdm import tqdm

from jaxcxr import command_line
from jaxcxr.errors import UserError
from jaxcxr.files import make_folder, written_aside
from jaxcxr.training.sweep import (
    LEARNING_RATES,
    Trial,
    is_finished,
    make_trials,
    record_result,
    split_values,
    summarize,
    summary_text,
    take_shard,
)

_CONFIGS = flags.DEFINE_list("configs", None, "Config files, with commas.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where launch/prepare.py wrote.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the sweep.", required=True)
_KEY = flags.DEFINE_string("key", "", "The setting to search over, as optimizer.learning_rate.")
_VALUES = flags.DEFINE_string(
    "values", "", "Its values, with commas; for the learning rate the paper's ten if not given."
)
_SEEDS = flags.DEFINE_integer("seeds", 1, "Runs with seeds 0, 1, … of each.")
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs side by side.", lower_bound=1)
_SHARD = flags.DEFINE_string("shard", "1/1", "This machine's part, as 1/4.")
_SET = flags.DEFINE_multi_string("set", [], "More settings for every run, as epochs=3.")

_LAUNCH = Path(__file__).parent
_STATUS = "status"
_USAGE = f"{_STATUS} 2:"
"""How programs end that do not know a flag or a setting: no other run will do better."""


def main() -> None:
    """Runs this machine's trials and tells what all finished ones gave."""
    values = split_values(_VALUES.value)
    if _KEY.value == "optimizer.learning_rate" and not values:
        values = [str(rate) for rate in LEARNING_RATES]
    trials = make_trials(_CONFIGS.value, _KEY.value, values, _SEEDS.value)
    mine = take_shard(trials, _SHARD.value)
    for config in _CONFIGS.value:
        if not Path(config).is_file():
            raise UserError(f"--configs names {config}, which is no file; configs/ holds them")
    todo = [trial for trial in mine if not is_finished(folder_of(trial), asked(trial))]
    failed = run_trials(todo)
    summary = summarize(Path(_OUT.value), trials)
    with written_aside(Path(_OUT.value) / "sweep.csv") as aside:
        summary.to_csv(aside, index=False)
    print(summary_text(summary))
    if failed:
        raise UserError(f"{len(failed)} of {len(mine)} runs failed:\n" + "\n".join(failed))


def folder_of(trial: Trial) -> Path:
    """Returns the folder of a run."""
    return Path(_OUT.value) / trial.folder


def asked(trial: Trial) -> dict[str, str]:
    """Returns what a result depends on beside the trial's folder."""
    given: list[str] = _SET.value
    settings = {name: value for name, _, value in (setting.partition("=") for setting in given)}
    data_dir = str(Path(_DATA_DIR.value).resolve())
    return {"config": trial.config, "data_dir": data_dir, **settings}


def run_trials(trials: Sequence[Trial]) -> list[str]:
    """Trains and scores runs; returns what went wrong. A wrong setting ends all at once."""
    failed = []
    with ThreadPoolExecutor(_JOBS.value) as pool:
        runs = [pool.submit(run_trial, trial) for trial in trials]
        for run in tqdm(as_completed(runs), "runs", total=len(runs), unit="run", disable=None):
            if failure := run.result():
                tqdm.write(failure, file=sys.stderr)
                failed.append(failure)
                if _USAGE in failure:
                    pool.shutdown(cancel_futures=True)
                    break
    return failed


def run_trial(trial: Trial) -> str | None:
    """Trains and scores one run; returns what went wrong, if anything."""
    workdir = folder_of(trial)
    make_folder(workdir)
    place = [f"--workdir={workdir}", f"--data_dir={_DATA_DIR.value}"]
    settings = [f"--config.{setting}" for setting in _SET.value]
    programs = [
        ["train.py", f"--config={trial.config}", *trial.overrides, *settings, *place],
        ["evaluate_auc.py", *place],
        ["evaluate_boxes.py", *place],
    ]
    for program, *arguments in programs:
        try:
            with open(workdir / "log.txt", "a", encoding="utf-8") as log:
                command = [sys.executable, str(_LAUNCH / program), *arguments]
                status = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        except OSError as error:
            return f"{workdir}: {program} could not be started: {error.strerror}"
        if status != 0:
            lines = (workdir / "log.txt").read_text(encoding="utf-8").strip().splitlines()
            errors = [line for line in lines if line.startswith("error: ")] or lines
            reason = errors[-1] if errors else "log.txt is empty: perhaps the disk is full"
            return f"{workdir}: {program} ended with {_STATUS} {status}: {reason}"
    record_result(workdir, asked(trial))
    return None


if __name__ == "__main__":
    command_line.run(main)
