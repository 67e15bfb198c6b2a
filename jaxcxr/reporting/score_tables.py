"""Scores of runs and of published networks, side by side, finding by finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from jaxcxr.evaluation.outcome import Level
from jaxcxr.evaluation.published import MODELS, published_auc, published_localization
from jaxcxr.findings import FINDINGS
from jaxcxr.reporting.runs import RunFiles

MEAN = "Mean"
THESE_RUNS = "These runs"
THESE_RUNS_PUBLISHED_SCORING = "These runs, published scoring"
PUBLISHED = "Published"

SOURCES = ("paper", "result files", "final report")
"""Of published localization, the most trusted first."""

_PAPER = " (paper)"
"""Of a title: what the group of the published networks says anyway."""


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
    counts: Mapping[str, int]

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
    scored = [
        (index, run.name, run.classification.auc)
        for index, run in enumerate(runs)
        if run.classification is not None
    ]
    networks = [
        Network(name, THESE_RUNS, _column(table, "auc"), _intervals(table), index)
        for index, name, table in scored
    ]
    published = published_auc()
    for model, title in MODELS.items():
        values = _column(published.loc[published["model"] == model], "auc")
        networks.append(Network(title.removesuffix(_PAPER), PUBLISHED, _with_mean(values)))
    counts = _column(scored[0][2], "positives") if scored else {}
    return ScoreTable(networks, {finding: int(count) for finding, count in counts.items()})


def localization_table(
    runs: Sequence[RunFiles], level: Level, sources: Sequence[str] = SOURCES
) -> ScoreTable:
    """Returns the accuracies of runs and published networks at one threshold.

    The runs come twice: scored as `jaxcxr.evaluation.localization` does, and by the arithmetic of
    the published tables, to stand beside those. A published network that two sources report alike
    is given once.

    Args:
        runs: Those without localization are left out.
        level: Metric and threshold.
        sources: Of the published accuracies, the most trusted first.
    """
    scored = [
        (index, run.name, run.localization)
        for index, run in enumerate(runs)
        if run.localization is not None
    ]
    networks, counts = [], {}
    for index, name, localization in scored:
        rows = _at(localization.scores, level)
        counts = counts or {str(key): int(count) for key, count in _column(rows, "boxes").items()}
        networks.append(_scored_network(name, THESE_RUNS, rows, index))
    for index, name, localization in scored:
        rows = _at(localization.published, level)
        if len(rows):
            networks.append(_scored_network(name, THESE_RUNS_PUBLISHED_SCORING, rows, index))
    return ScoreTable([*networks, *_published_networks(level, sources)], counts)


def _scored_network(name: str, group: str, rows: pd.DataFrame, run: int) -> Network:
    return Network(
        name,
        group,
        _column(rows, "accuracy"),
        _intervals(rows) if "ci_low" in rows else {},
        run,
        _column(rows, "afp").get(MEAN),
    )


def _published_networks(level: Level, sources: Sequence[str]) -> Iterator[Network]:
    published = _at(published_localization(), level)
    for model, title in MODELS.items():
        shown: list[dict[str, float]] = []
        for source in sources:
            chosen = (published["model"] == model) & (published["source"] == source)
            values = _column(published.loc[chosen], "accuracy")
            if values and not any(_alike(values, other) for other in shown):
                shown.append(values)
                name = title.removesuffix(_PAPER)
                name += f" ({source})" if source != "paper" and name != title else ""
                yield Network(name, PUBLISHED, _with_mean(values))


def _alike(values: Mapping[str, float], others: Mapping[str, float]) -> bool:
    return all(abs(values[finding] - others[finding]) < 0.001 for finding in values)


def _at(table: pd.DataFrame, level: Level) -> pd.DataFrame:
    metric, threshold = level
    return table.loc[(table["metric"] == metric) & ((table["threshold"] - threshold).abs() < 1e-9)]


def _column(table: pd.DataFrame, name: str) -> dict[str, float]:
    return dict(zip(table["finding"], table[name], strict=True))


def _intervals(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    ends = zip(table["ci_low"], table["ci_high"], strict=True)
    return dict(zip(table["finding"], ends, strict=True))


def _with_mean(values: Mapping[str, float]) -> dict[str, float]:
    return {**values, MEAN: sum(values.values()) / len(values)}
