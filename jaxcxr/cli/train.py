"""Trains one experiment; called again with the same command, it resumes where it was stopped.

jaxcxr train --config baseline --data_dir DIR --workdir runs/baseline

Reads the dataset that jaxcxr prepare made. Writes config.json, run.json, history.csv,
checkpoints/ and TensorBoard events under --workdir.

SIGTERM or Ctrl-C ends the step under way, saves it, prints how to resume and ends with status 0, or
with --stopped_status: 143 is what some schedulers expect. A second signal ends at once.
"""

# isort: split
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from jaxcxr.cli import cluster
from jaxcxr.cli.cpu_devices import use_device_per_core
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.cli.program import command, command_again
from jaxcxr.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "Name or path of a config.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where jaxcxr prepare wrote.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status", 0, "Exit status of a run that SIGTERM or Ctrl-C stopped before its end."
)
define_import_flag()
cluster.define_flags()
flags.mark_flag_as_required("config")


def main() -> int:
    """Trains or resumes the run; returns the exit status.

    Raises:
        UserError: No epoch has a finite validation loss.
    """
    from jaxcxr import data
    from jaxcxr.runs.experiment import Experiment
    from jaxcxr.training import distributed

    cluster.connect()
    experiment = Experiment.from_config(_CONFIG.value)
    use_device_per_core(experiment.config.batch_size)
    prepared = data.load(_DATA_DIR.value, **experiment.config.data)
    run = experiment.train(prepared, Path(_WORKDIR.value))
    if not distributed.is_primary_process():
        return _STOPPED_STATUS.value if run.interrupted else 0
    if run.interrupted:
        print(
            f"stopped by {run.interrupted} after {len(run.history)} epochs and "
            f"{run.unfinished.steps} steps, which are saved; resume with: {command_again('train')}"
        )
        return _STOPPED_STATUS.value
    best = run.history.best_epoch()
    if best is None:
        raise UserError(
            f"the validation loss is not finite in any of the {len(run.history)} epochs, so no "
            f"epoch is usable; train in another folder with a learning rate below "
            f"{experiment.optimizer.learning_rate:g} (--config.optimizer.learning_rate), or with "
            "--config.optimizer.clip_norm=1.0"
        )
    print(
        f"best epoch {best} of {len(run.history)}: "
        f"validation loss {run.history['val_loss'][best - 1]:.4f}. "
        f"Next: {command('evaluate_auc')} --workdir={_WORKDIR.value} --data_dir={_DATA_DIR.value}"
        + "".join(f" --import={module}" for module in flags.FLAGS["import"].value or [])
    )
    return 0
