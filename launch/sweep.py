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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import flags
from tqdm import tqdm

from jaxcxr import command_line
from jaxcxr.errors import UserError
from jaxcxr.files import written_aside
from jaxcxr.training.sweep import (
    LEARNING_RATES,
    RESULT,
    Trial,
    make_trials,
    record_result,
    summarize,
    summary_text,
    take_shard,
)

_CONFIGS = flags.DEFINE_list("configs", None, "Config files, with commas.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where launch/prepare.py wrote.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the sweep.", required=True)
_KEY = flags.DEFINE_string("key", "", "The setting to search over, as optimizer.learning_rate.")
_VALUES = flags.DEFINE_list("values", [], "Its values; for the learning rate the paper's ten.")
_SEEDS = flags.DEFINE_integer("seeds", 1, "Runs with seeds 0, 1, … of each.")
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs side by side.", lower_bound=1)
_SHARD = flags.DEFINE_string("shard", "1/1", "This machine's part, as 1/4.")
_SET = flags.DEFINE_multi_string("set", [], "More settings for every run, as epochs=3.")

_LAUNCH = Path(__file__).parent


def main() -> None:
    """Runs this machine's trials and tells what all finished ones gave."""
    values = _VALUES.value
    if _KEY.value == "optimizer.learning_rate" and not values:
        values = [str(rate) for rate in LEARNING_RATES]
    trials = make_trials(_CONFIGS.value, _KEY.value, values, _SEEDS.value)
    mine = take_shard(trials, _SHARD.value)
    with ThreadPoolExecutor(_JOBS.value) as pool:
        failed = [
            failure
            for failure in tqdm(pool.map(run_trial, mine), "runs", total=len(mine), unit="run")
            if failure
        ]
    summary = summarize(Path(_OUT.value), trials)
    with written_aside(Path(_OUT.value) / "sweep.csv") as aside:
        summary.to_csv(aside, index=False)
    print(summary_text(summary))
    if failed:
        raise UserError(f"{len(failed)} of {len(mine)} runs failed:\n" + "\n".join(failed))


def run_trial(trial: Trial) -> str | None:
    """Trains and scores one run unless it is finished; returns what went wrong, if anything."""
    workdir = Path(_OUT.value) / trial.folder
    if (workdir / RESULT).exists():
        return None
    workdir.mkdir(parents=True, exist_ok=True)
    place = [f"--workdir={workdir}", f"--data_dir={_DATA_DIR.value}"]
    settings = [f"--config.{setting}" for setting in _SET.value]
    programs = [
        ["train.py", f"--config={trial.config}", *trial.overrides, *settings, *place],
        ["evaluate_auc.py", *place],
        ["evaluate_boxes.py", *place],
    ]
    for program, *arguments in programs:
        with open(workdir / "log.txt", "a", encoding="utf-8") as log:
            command = [sys.executable, str(_LAUNCH / program), *arguments]
            status = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        if status != 0:
            last = (workdir / "log.txt").read_text(encoding="utf-8").strip().splitlines()[-1]
            return f"{workdir}: {program} ended with status {status}: {last}"
    record_result(workdir)
    return None


if __name__ == "__main__":
    command_line.run(main)
