"""The runs of a sweep: they differ in one setting, in their network, or in their seed alone."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.inference.scored_epochs import scored_epochs

LEARNING_RATES = tuple(float(f"{rate:.2g}") for rate in np.geomspace(1e-3, 1e-6, 10))
"""The paper's grid: 10 values from 1e-3 to 1e-6 (section 4.1)."""

_SHOWN = ("val_loss", "val_auc", "AUC", "IoU > 0.1", "IoU > 0.3", "IoBB > 0.25")
"""The scores in the terminal's table."""

_LOSS_SETTINGS = ("loss", "label_smoothing", "batch_size", "findings")
"""Settings of which runs must have the same value for their losses to be ranked."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        config: Path of the config file.
        key: Name of the setting that varies ("optimizer.learning_rate"), empty where none does.
        value: Its value as it is written on the command line.
        seed: Of the run.
    """

    config: str
    key: str
    value: str
    seed: int

    @property
    def folder(self) -> str:
        """Folder of the run under that of the sweep.

        A slash, and what else may mean something in a path, is written as %2F (Orbax reads no
        checkpoint under a folder with brackets as [2, 2]).
        """
        setting = "as_configured"
        if self.key:
            setting = quote(f"{self.key}={self.value}", safe="=,+() '", errors="surrogateescape")
        return f"{Path(self.config).stem}/{setting}/seed_{self.seed}"

    @property
    def overrides(self) -> list[str]:
        """What jaxcxr train takes beside --config."""
        setting = [f"--config.{self.key}={self.value}"] if self.key else []
        return [*setting, f"--config.seed={self.seed}"]


def make_trials(configs: Sequence[str], key: str, values: Sequence[str], seeds: int) -> list[Trial]:
    """Returns every config with every value and every seed from 0 to `seeds` − 1.

    Raises:
        UserError: There are values without a key, or a key without values; or two runs would share
            a folder.
    """
    if bool(key) != bool(values):
        raise UserError("a sweep over a setting needs both --key and --values")
    trials = [
        Trial(config, key, value, seed)
        for config in configs
        for value in (values or [""])
        for seed in range(seeds)
    ]
    refuse_shared_folders(trials)
    return trials


def refuse_shared_folders(trials: Iterable[Trial]) -> None:
    """Refuses runs of which two would have one folder.

    Raises:
        UserError: There are such runs.
    """
    folder, count = Counter(trial.folder for trial in trials).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{count} runs would share the folder {folder}; give each value, seed and config once, "
            "and configs of different names"
        )


def refuse_varied(key: str, settings: Iterable[str]) -> None:
    """Refuses settings for every run, as "epochs=3", that the sweep varies itself.

    The later of two words on a command line wins: folders would be named after other settings.

    Raises:
        UserError: One is that of `key`, or the seed; or `key` is the seed.
    """
    names = [setting.partition("=")[0] for setting in settings]
    if "seed" in (key, *names):
        raise UserError("a sweep sets the seed itself; give --seeds=N for the seeds 0 to N − 1")
    if key in names:
        raise UserError(f"--set sets {key}, which --key searches over; leave one of them out")


def read_shard(shard: str) -> slice:
    """Returns where machine i of n finds its trials among all, for `shard` "i/n" with i from 1.

    Raises:
        UserError: `shard` has another form.
    """
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"shard is {shard!r}; expected i/n with i from 1 to n, as 1/4 to 4/4")
    return slice(int(match[1]) - 1, None, int(match[2]))


def split_values(text: str) -> list[str]:
    """Returns the values that commas part; those within brackets do not: ``(2, 2),[3, 4]``."""
    return [value.strip() for value in re.split(r",(?![^(\[]*[)\]])", text) if value.strip()]


def is_scored(workdir: Path) -> bool:
    """Returns whether a run has the scores of the epoch that is best now.

    Raises:
        UserError: evaluation/epochs.json is damaged.
    """
    epochs = scored_epochs(workdir / "evaluation")
    if {*epochs} != {"auc", "boxes"}:
        return False
    return {*epochs.values()} == {_best_epoch(workdir)["best_epoch"]}


def _best_epoch(workdir: Path) -> dict[str, float]:
    history = pd.read_csv(workdir / "history.csv").replace([np.inf, -np.inf], np.nan)
    best = history.loc[history["val_loss"].idxmin()]
    return {
        "val_loss": float(best["val_loss"]),
        "val_auc": float(best.get("val_auc", np.nan)),
        "best_epoch": int(best["epoch"]),
    }


def _scores(workdir: Path) -> dict[str, float]:
    auc = pd.read_csv(workdir / "evaluation" / "auc.csv")
    boxes = pd.read_csv(workdir / "evaluation" / "localization.csv")
    mean = boxes.loc[(boxes["finding"] == "Mean") & boxes["metric"].isin(["IoU", "IoBB"])]
    return {
        **_best_epoch(workdir),
        "AUC": auc.loc[auc["finding"] == "Mean", "auc"].item(),
        **{f"{row.metric} > {row.threshold:g}": row.accuracy for row in mean.itertuples()},
    }


def _loss_settings(workdir: Path) -> list[Any]:
    config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    return [config.get(name) for name in _LOSS_SETTINGS]


def summarize(sweep: Path, trials: Sequence[Trial]) -> pd.DataFrame:
    """Returns a table of the finished trials: a row per config and value, best one first.

    Columns: config, the setting, number of seeds, then of each score its mean and its standard
    deviation over seeds (NaN for one seed). Best is the lowest mean validation loss; where the
    trials have different losses, label smoothings or batch sizes, the greatest mean validation AUC.
    Where no trial is finished there are the first three columns alone.
    """
    by = ["config", next((trial.key for trial in trials if trial.key), "setting")]
    finished = {trial: sweep / trial.folder for trial in trials if is_scored(sweep / trial.folder)}
    if not finished:
        return pd.DataFrame(columns=[*by, "seeds"])
    table = pd.DataFrame([_scores(workdir) for workdir in finished.values()])
    table[by] = [(Path(trial.config).stem, trial.value) for trial in finished]
    groups = table.groupby(by, sort=False)
    parts = [groups.size().to_frame("seeds"), groups.mean(), groups.std().add_suffix(" sd")]
    summary = pd.concat(parts, axis=1).reset_index()
    losses = [_loss_settings(workdir) for workdir in finished.values()]
    by_loss = all(loss == losses[0] for loss in losses) or bool(summary["val_auc"].isna().all())
    ranked = "val_loss" if by_loss else "val_auc"
    return summary.sort_values(ranked, ascending=by_loss, ignore_index=True)


def summary_text(summary: pd.DataFrame) -> str:
    """Returns the table for the terminal: mean ± standard deviation."""
    if summary.empty:
        return "no trial is finished"
    shown = pd.DataFrame(summary.iloc[:, :3])
    for score in _SHOWN:
        deviations = summary[f"{score} sd"].map(" ± {:.3f}".format)
        shown[score] = summary[score].map("{:.3f}".format) + deviations.replace(" ± nan", "")
    return shown.to_string(index=False)
