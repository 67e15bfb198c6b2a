"""Scores of the networks over their seeds, beside the paper's figures."""

# pandas annotates what grouping and indexing give as wide unions:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportReturnType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation.published import published_auc, published_localization
from jaxcxr.reporting.runs import RunFiles

PAPERS_TABLES = ("AUC", "IoU > 0.3", "IoBB > 0.25")
"""The scores of the paper's Tables 1, 2 and 3."""

_PUBLISHED_NAMES = {"resnet34_baseline": "baseline"}
_KEYS = ["network", "score", "scoring", "finding"]


def reproduction_table(runs: Mapping[str, Sequence[RunFiles]]) -> pd.DataFrame:
    """Returns the mean and standard deviation of every score over a network's runs.

    Args:
        runs: Scored runs by the name of their network: "baseline", "space_attention" …

    Returns:
        network; score ("AUC", "IoU > 0.3" …); scoring ("correct", or "as published": localization
        by the arithmetic of the published tables); finding ("Mean" is the last of each); mean, sd
        (NaN for one run) and seeds (the number of runs with this score); and published, the paper's
        value, NaN where there is none.
    """
    parts = [_scores(run).assign(network=name) for name, group in runs.items() for run in group]
    groups = pd.concat(parts).groupby(_KEYS, sort=False)["value"]
    table = groups.agg(["mean", "std", "count"]).reset_index()
    table = table.rename(columns={"std": "sd", "count": "seeds"})
    return table.merge(_published(), on=_KEYS, how="left", validate="one_to_one")


def _scores(run: RunFiles) -> pd.DataFrame:
    """Returns score, scoring, finding, value of one run."""
    if run.classification is None or run.localization is None:
        raise UserError(f"{run.workdir} has no scores; score it again")
    auc = run.classification.auc.rename(columns={"auc": "value"})
    correct, published = run.localization.scores, run.localization.published
    parts = [
        auc.assign(score="AUC", scoring="correct"),
        _by_level(correct).assign(scoring="correct"),
        _by_level(published).assign(scoring="as published"),
    ]
    return pd.concat(parts)[[*_KEYS[1:], "value"]]


def _by_level(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of accuracies with the column score ("IoU > 0.3"), and value."""
    score = table["metric"] + " > " + table["threshold"].map("{:g}".format)
    return table.assign(score=score).rename(columns={"accuracy": "value"})


def _published() -> pd.DataFrame:
    """Returns the published figures, each from the most trusted source, and their means."""
    auc = published_auc().rename(columns={"auc": "value"})
    boxes = published_localization()
    boxes = boxes.loc[boxes["model"] != "resnet50_wang2017"]  # scored by others
    order = ["paper", "result files", "final report"]
    boxes = boxes.sort_values("source", key=lambda names: names.map(order.index), kind="stable")
    boxes = boxes.drop_duplicates(["model", "metric", "threshold", "finding"])
    parts = [
        auc.assign(score="AUC", scoring="correct"),
        _by_level(boxes).assign(scoring="as published"),
    ]
    figures = pd.concat(parts)
    figures["network"] = figures["model"].replace(_PUBLISHED_NAMES)
    means = figures.groupby(_KEYS[:3], as_index=False)["value"].mean().assign(finding="Mean")
    return pd.concat([figures, means])[[*_KEYS, "value"]].rename(columns={"value": "published"})


def means_text(table: pd.DataFrame) -> str:
    """Returns the means over the findings for the terminal: `PAPERS_TABLES`, a row per network."""
    means = table.loc[(table["finding"] == "Mean") & table["score"].isin(PAPERS_TABLES)]
    shown = means[["score", "scoring", "network", "seeds"]].copy()
    shown["mean ± sd"], shown["paper"] = _mean_sd(means), _text(means["published"])
    return shown.to_string(index=False)


def reproduction_page(table: pd.DataFrame, comparable: bool) -> str:
    """Returns a page in Markdown with `PAPERS_TABLES`, finding by finding.

    Args:
        table: Of `reproduction_table`.
        comparable: Whether the test radiographs are those of NIH's official list.
    """
    note = "" if comparable else "**The test radiographs are not those of NIH's official list.** "
    parts = [
        "# The study on this release",
        f"{note}Mean ± standard deviation over the seeds of each network; beside it the paper's "
        "figure. The paper's localization was scored with faults: it stands beside the scores by "
        "the same arithmetic (as published), not beside the correct ones.",
    ]
    for number, score in enumerate(PAPERS_TABLES, 1):
        columns, rows = {}, table.loc[table["score"] == score].set_index("finding")
        for (network, scoring), group in rows.groupby(["network", "scoring"], sort=False):
            columns[f"{network}: {scoring}"] = _mean_sd(group)
            if group["published"].notna().any():
                columns[f"{network}: paper"] = _text(group["published"])
        lines = pd.DataFrame(columns).reset_index().to_csv(sep="|", index=False).splitlines()
        lines.insert(1, "---|" * len(columns) + "---")
        parts += [f"## {score} (the paper's Table {number})", "\n".join(f"|{x}|" for x in lines)]
    return "\n\n".join(parts) + "\n"


def _mean_sd(rows: pd.DataFrame) -> pd.Series:
    return _text(rows["mean"]) + rows["sd"].map(" ± {:.3f}".format).replace(" ± nan", "")


def _text(values: pd.Series) -> pd.Series:
    return values.map("{:.3f}".format).replace("nan", "-")
