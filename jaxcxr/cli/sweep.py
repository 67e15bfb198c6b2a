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
from pathlib import Path

from absl import flags

from jaxcxr.cli.configs import find_config, require_config
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.cli.program import command_again
from jaxcxr.cli.run_trials import TrialRunner
from jaxcxr.cli.trials import (
    LEARNING_RATES,
    make_trials,
    read_shard,
    refuse_varied,
    split_values,
    summarize,
    summary_text,
)
from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write

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
    modules = tuple(flags.FLAGS["import"].value or ())
    runner = TrialRunner(out, _DATA_DIR.value, tuple(_SET.value), modules, _JOBS.value)
    failed, stopped_by = asyncio.run(runner.run(mine))
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
