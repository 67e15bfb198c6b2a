"""Scores of runs and of published networks, side by side, finding by finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from jaxcxr.evaluation.outcome import Level, at_level
from jaxcxr.evaluation.published import MODELS, published_auc, published_localization
from jaxcxr.findings import FINDINGS
from jaxcxr.reporting.runs import RunFiles

MEAN = "Mean"
THESE_RUNS = "These runs"
THESE_RUNS_PUBLISHED_SCORING = "These runs, published scoring"
PUBLISHED = "Published"

_SOURCES = ["paper", "result files", "final report"]
"""Of published localization, the most trusted first."""


@dataclasses.dataclass(frozen=True)
class Network:
    """The scores of one network.

    Attributes:
        name: What to call it.
        group: Who scored it how; the best score is sought within a group.
        values: Score per finding, and of "Mean"; absent or NaN where there is none.
        intervals: 95 % interval per finding, where known.
        run: Position of the run among those of the report, None of a published network.
        false_positives: Mean number of false positives per image, where known.
    """

    name: str
    group: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    run: int | None = None
    false_positives: float | None = None


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """Networks × findings.

    Attributes:
        networks: Of one group after the other.
        counts: Per finding how many radiographs or boxes the scores of these runs rest on.
    """

    networks: Sequence[Network]
    counts: Mapping[str, float]

    @property
    def findings(self) -> list[str]:
        """Those that any network has a score of, in order."""
        scored = {finding for network in self.networks for finding in network.values}
        return [finding for finding in FINDINGS if finding in scored]

    @property
    def groups(self) -> dict[str, int]:
        """Number of networks per group."""
        names = [network.group for network in self.networks]
        return {name: names.count(name) for name in names}

    def is_best(self, network: Network, finding: str) -> bool:
        """Says whether no network of the group has a score that reads higher, and one a lower."""
        rivals = [
            _shown(other.values.get(finding))
            for other in self.networks
            if other.group == network.group
        ]
        own = _shown(network.values.get(finding))
        return min(rivals) < own == max(rivals)


def _shown(score: float | None) -> float:
    """Returns a score as the page shows it, so that equal texts are equally good; else -1."""
    return -1.0 if score is None or pd.isna(score) else round(score, 3)


def auc_table(runs: Sequence[RunFiles]) -> ScoreTable:
    """Returns the AUCs of the runs that have some, and those of the paper's Table 1."""
    networks, counts = [], {}
    for index, run in enumerate(runs):
        if run.classification is not None:
            scores = run.classification.auc
            networks.append(_network(run.name, THESE_RUNS, scores, "auc", index))
            counts = counts or _column(scores, "positives")
    published = published_auc()
    for model, title in MODELS.items():
        networks.append(_published(title, published.loc[published["model"] == model], "auc"))
    return ScoreTable(networks, counts)


def localization_table(runs: Sequence[RunFiles], level: Level) -> ScoreTable:
    """Returns the accuracies of runs and published networks at one threshold.

    The runs come twice: scored as `jaxcxr.evaluation.localization` does, and by the arithmetic of
    the published tables, to stand beside those. Of published figures the paper's come first, then
    those of the authors' result files, then those of their report.

    Args:
        runs: Those without localization are left out.
        level: Metric and threshold.
    """
    networks, as_published, counts = [], [], {}
    for index, run in enumerate(runs):
        if run.localization is not None:
            rows = at_level(run.localization.scores, level)
            networks.append(_network(run.name, THESE_RUNS, rows, "accuracy", index))
            counts = counts or _column(rows, "boxes")
            rows = at_level(run.localization.published, level)
            if len(rows):
                group = THESE_RUNS_PUBLISHED_SCORING
                as_published.append(_network(run.name, group, rows, "accuracy", index))
    published = at_level(published_localization(), level)
    published = published.sort_values("source", key=lambda names: names.map(_SOURCES.index))
    for model, title in MODELS.items():
        rows = published.loc[published["model"] == model]
        if len(rows):
            rows = rows.loc[rows["source"] == rows["source"].iloc[0]]
            as_published.append(_published(title, rows, "accuracy"))
    return ScoreTable([*networks, *as_published], counts)


def _network(name: str, group: str, rows: pd.DataFrame, score: str, run: int) -> Network:
    intervals = {}
    if "ci_low" in rows:
        ends = zip(rows["ci_low"], rows["ci_high"], strict=True)
        intervals = dict(zip(rows["finding"], ends, strict=True))
    false_positives = _column(rows, "afp")[MEAN] if "afp" in rows else None
    return Network(name, group, _column(rows, score), intervals, run, false_positives)


def _published(title: str, rows: pd.DataFrame, score: str) -> Network:
    values = {**_column(rows, score), MEAN: rows[score].mean()}
    name = title.removesuffix(" (paper)")
    if "source" in rows and name != title and (source := rows["source"].iloc[0]) != "paper":
        name += f" ({source})"
    return Network(name, PUBLISHED, values)


def _column(table: pd.DataFrame, name: str) -> dict[str, float]:
    return dict(zip(table["finding"], table[name], strict=True))
