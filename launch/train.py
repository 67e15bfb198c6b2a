"""Trains one experiment; called again with the same words, it goes on where it was stopped.

python launch/train.py --config configs/baseline.py --data_dir DIR --workdir runs/baseline

Reads the dataset that launch/prepare.py made. Writes config.json, run.json, history.csv,
checkpoints/ and TensorBoard events under --workdir.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from jaxcxr import command_line, data
from jaxcxr.training.experiment import Experiment

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file of configs/.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where launch/prepare.py wrote.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.mark_flag_as_required("config")


def main() -> None:
    """Trains as the flags say."""
    experiment = Experiment.from_config(command_line.experiment_config(_CONFIG))
    prepared = data.load(_DATA_DIR.value, **experiment.config.data)
    run = experiment.train(prepared, Path(_WORKDIR.value))
    best = run.history.best_epoch()
    print(
        f"best epoch {best} of {len(run.history)}: "
        f"validation loss {run.history['val_loss'][best - 1]:.4f}. "
        f"Next: launch/evaluate_auc.py --workdir {_WORKDIR.value} --data_dir {_DATA_DIR.value}"
    )


if __name__ == "__main__":
    command_line.run(main)
