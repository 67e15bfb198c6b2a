"""How long the runs that are left will take on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from absl import flags
from ml_collections import config_flags

from jaxcxr.cli.cpu_devices import use_device_per_core
from jaxcxr.cli.program import fault_of_word
from jaxcxr.cli.trials import Trial, is_scored
from jaxcxr.data.arrays import ArraySplit
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS

if TYPE_CHECKING:
    from jaxcxr.runs.experiment import Experiment

_TIMED_BATCHES = 3


def read_experiment(config: str, settings: Sequence[str]) -> Experiment:
    """Reads a config file, with the settings that differ as "epochs=3"."""
    from jaxcxr.runs.experiment import Experiment  # imports JAX

    words = ["", f"--config={config}", *(f"--config.{setting}" for setting in settings)]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=words)
    try:
        values(words)
    except Exception as error:
        if (problem := fault_of_word(error)) is None:
            raise
        raise UserError(problem) from error
    return Experiment.from_config(values["config"].value)


def epochs_done(workdir: Path) -> pd.DataFrame:
    """Returns history.csv of a run, without rows where it has not begun."""
    path = workdir / "history.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def is_done(workdir: Path, experiment: Experiment) -> bool:
    """Returns whether a run is scored, and its training would not go on, say for more epochs.

    Raises:
        UserError: evaluation/epochs.json is damaged.
    """
    from jaxcxr.training.history import History  # imports JAX

    if not is_scored(workdir):
        return False
    history = History(tuple(epochs_done(workdir).to_dict("records")))
    all_done = len(history) >= experiment.config.epochs
    return all_done or experiment.early_stopping.should_stop(history)


def print_time(
    runs: Path,
    trials: Sequence[Trial],
    experiments: Mapping[str, Experiment],
    settings: Sequence[str],
    facts: Mapping[str, Any],
) -> None:
    """Prints how long the runs that are left will take at most.

    Seconds a radiograph come from the last epoch of a run of this network, or are measured.
    """
    left = 0.0
    for config, experiment in experiments.items():
        folders = [runs / trial.folder for trial in trials if trial.config == config]
        wanted = experiment.config.epochs
        to_do = [folder for folder in folders if not is_done(folder, experiment)]
        histories = [epochs_done(folder) for folder in folders]
        known = [history for history in histories if len(history) > 1]  # the first compiles
        if not to_do:
            continue
        batch = experiment.config.batch_size
        if known:
            epoch, source = known[-1].iloc[-1], "last epoch"
            train, validation = facts["train"] // batch * batch, facts["validation"]
        else:
            epoch, source = _measured_epoch(config, settings), f"{_TIMED_BATCHES} steps now"
            train = validation = _TIMED_BATCHES * batch
        training = 1 / epoch["images_per_second"]
        prediction = epoch["seconds"] / validation - training * train / validation
        epochs = sum(max(wanted - len(epochs_done(folder)), 0) for folder in to_do)
        seconds = epochs * (facts["train"] * training + facts["validation"] * prediction)
        seconds += len(to_do) * (facts["validation"] + facts["test"]) * prediction
        left += seconds
        print(
            f"{Path(config).stem}: runs left {len(to_do)}, epochs at most {epochs}, "
            f"{_time(seconds)} at {1 / training:.1f} radiographs/s ({source}, batch {batch})"
        )
    print(
        f"time left: at most {_time(left)}, without preparing, starting and compiling", flush=True
    )


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _measured_epoch(config: str, settings: Sequence[str]) -> Mapping[str, float]:
    """Returns the record of a short epoch that is trained for its time, without compiling.

    In a process of its own: the memory of a GPU is free again for the runs.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_train_shortly, args=(config, settings, sender), daemon=True)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise UserError(
            f"{config}: a training step failed, see above; where memory is short use a smaller "
            "batch size",
            argument="batch_size",
        ) from None


def _train_shortly(config: str, settings: Sequence[str], sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the program, and that ends this
    experiment = read_experiment(config, settings)
    use_device_per_core(experiment.config.batch_size)
    batch, size = experiment.config.batch_size, experiment.config.data.image_size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_TIMED_BATCHES * batch, size, size, 1), np.uint8)
    split = ArraySplit(images, rng.integers(0, 2, (len(images), len(FINDINGS)), np.uint8))
    from jaxcxr.training.fit import fit

    run = fit(
        experiment.model,
        split,
        validation_data=split,
        epochs=2,
        batch_size=batch,
        optimizer=experiment.optimizer,
        loss=experiment.loss,
        frozen=experiment.config.frozen,
        augmentation=experiment.augmentation,
        compute_dtype=experiment.config.compute_dtype,
        verbose=False,
    )
    with contextlib.suppress(BrokenPipeError):  # the program was ended
        sender.send(run.history.epochs[-1])
