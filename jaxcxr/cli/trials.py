"""The runs of a sweep: they differ in one setting, in their network, or in their seed alone."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
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
from jaxcxr.files import write_text

LEARNING_RATES = tuple(float(f"{rate:.2g}") for rate in np.geomspace(1e-3, 1e-6, 10))
"""The paper's grid: 10 values from 1e-3 to 1e-6 (section 4.1)."""

RESULT = "sweep_result.json"
"""File that a finished trial leaves in its folder."""

_SHOWN = ("val_loss", "val_auc", "AUC", "IoU > 0.1", "IoU > 0.3", "IoBB > 0.25")
"""The scores in the terminal's table."""

_LOSS_SETTINGS = ("loss", "label_smoothing", "batch_size", "findings")
"""Settings of which runs must have the same value for their losses to be ranked."""

_LONGEST_NAME = 150  # file systems take 255 bytes


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
        """Folder of the run under that of the sweep."""
        setting = _folder_name(f"{self.key}={self.value}") if self.key else "as_configured"
        return f"{Path(self.config).stem}/{setting}/seed_{self.seed}"

    @property
    def overrides(self) -> list[str]:
        """What jaxcxr train takes beside --config."""
        setting = [f"--config.{self.key}={self.value}"] if self.key else []
        return [*setting, f"--config.seed={self.seed}"]


def _folder_name(setting: str) -> str:
    """Returns `setting` as the name of one folder; different settings have different names.

    A slash, and what else may mean something in a path, is written as %2F (Orbax reads no
    checkpoint under a folder with brackets as [2, 2]); the end of a long name as its checksum.
    """
    name = quote(setting, safe="=,+() '", errors="surrogateescape")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 2]}…{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def make_trials(configs: Sequence[str], key: str, values: Sequence[str], seeds: int) -> list[Trial]:
    """Returns every config with every value and every seed from 0 to `seeds` − 1.

    Raises:
        UserError: There are values without a key, a key without values, or no seed; or two runs
            would share a folder.
    """
    if bool(key) != bool(values):
        raise UserError("a sweep over a setting needs both --key and --values")
    if seeds < 1:
        raise UserError(f"seeds is {seeds}; at least 1 is needed")
    trials = [
        Trial(config, key, value, seed)
        for config in configs
        for value in (values or [""])
        for seed in range(seeds)
    ]
    folder, count = Counter(trial.folder for trial in trials).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{count} runs would share the folder {folder}; give each value and each config once, "
            "and configs of different names"
        )
    return trials


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
    try:
        index, count = (int(number) for number in shard.split("/"))
    except ValueError as error:
        raise UserError(f"shard is {shard!r}; expected i/n, as 1/4 to 4/4") from error
    if not 1 <= index <= count:
        raise UserError(f"shard is {shard!r}; i must lie between 1 and n")
    return slice(index - 1, None, count)


def split_values(text: str) -> list[str]:
    """Returns the values that commas part; those within brackets do not: ``(2, 2),[3, 4]``."""
    return [value.strip() for value in re.split(r",(?![^(\[]*[)\]])", text) if value.strip()]


def is_scored(workdir: Path) -> bool:
    """Returns whether a run has its result, of the epoch that is best now.

    Raises:
        UserError: The result is damaged.
    """
    if not (workdir / RESULT).exists():
        return False
    result, best = _read_result(workdir), _best_epoch(workdir)
    return all(result[name] == best[name] for name in ("best_epoch", "val_loss"))


def record_result(workdir: Path) -> None:
    """Gathers the scores of a trained and evaluated run into the file that marks it finished."""
    config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    auc = pd.read_csv(workdir / "evaluation" / "auc.csv")
    boxes = pd.read_csv(workdir / "evaluation" / "localization.csv")
    mean = boxes.loc[(boxes["finding"] == "Mean") & boxes["metric"].isin(["IoU", "IoBB"])]
    result = {
        "loss_settings": {name: config.get(name) for name in _LOSS_SETTINGS},
        **_best_epoch(workdir),
        "AUC": auc.loc[auc["finding"] == "Mean", "auc"].item(),
        **{f"{row.metric} > {row.threshold:g}": row.accuracy for row in mean.itertuples()},
    }
    write_text(workdir / RESULT, json.dumps(result, indent=2) + "\n")


def _best_epoch(workdir: Path) -> dict[str, float]:
    history = pd.read_csv(workdir / "history.csv").replace([np.inf, -np.inf], np.nan)
    best = history.loc[history["val_loss"].idxmin()]
    return {
        "val_loss": float(best["val_loss"]),
        "val_auc": float(best.get("val_auc", np.nan)),
        "best_epoch": int(best["epoch"]),
    }


def summarize(sweep: Path, trials: Sequence[Trial]) -> pd.DataFrame:
    """Returns a table of the finished trials: a row per config and value, best one first.

    Columns: config, the setting, number of seeds, then of each score its mean and its standard
    deviation over seeds (NaN for one seed). Best is the lowest mean validation loss; where the
    trials have different losses, label smoothings or batch sizes, the greatest mean validation AUC.
    Where no trial is finished there are the first three columns alone.
    """
    by = ["config", next((trial.key for trial in trials if trial.key), "setting")]
    finished = [trial for trial in trials if (sweep / trial.folder / RESULT).exists()]
    if not finished:
        return pd.DataFrame(columns=[*by, "seeds"])
    results = [_read_result(sweep / trial.folder) for trial in finished]
    table = pd.DataFrame(results).drop(columns="loss_settings")
    table.insert(0, by[0], [Path(trial.config).stem for trial in finished])
    table.insert(1, by[1], [trial.value for trial in finished])
    groups = table.groupby(by, sort=False)
    summary = groups.size().to_frame("seeds")
    for score in table.columns[2:]:
        summary[score] = groups[score].mean()
        summary[f"{score} sd"] = groups[score].std()
    same_loss = all(r["loss_settings"] == results[0]["loss_settings"] for r in results)
    by_loss = same_loss or bool(np.isnan(summary["val_auc"]).all())
    return summary.reset_index().sort_values(
        "val_loss" if by_loss else "val_auc", ascending=by_loss, ignore_index=True
    )


def _read_result(workdir: Path) -> dict[str, Any]:
    path = workdir / RESULT
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        result = json.loads(path.read_text(encoding="utf-8"))
        scores = {score: float(result[score]) for score in (*_SHOWN, "best_epoch")}
        return {**result, **scores, "loss_settings": result["loss_settings"]}
    raise UserError(f"{path} is damaged; remove it, and the sweep writes it again")


def summary_text(summary: pd.DataFrame) -> str:
    """Returns the table for the terminal: mean ± standard deviation."""
    if summary.empty:
        return "no trial is finished"
    shown = pd.DataFrame(summary.iloc[:, :3])
    for score in _SHOWN:
        deviations = summary[f"{score} sd"]
        shown[score] = [
            f"{mean:.3f}" + ("" if np.isnan(deviation) else f" ± {deviation:.3f}")
            for mean, deviation in zip(summary[score], deviations, strict=True)
        ]
    return shown.to_string(index=False)
