"""Means over seeds beside the paper's figures, from the tables that the runs have."""

import numpy as np
import pandas as pd
import pytest

from jaxcxr.reporting.reproduction import means_text, reproduction_page, reproduction_table
from jaxcxr.reporting.runs import read_runs


@pytest.fixture(scope="module")
def folders(make_run):
    return [make_run(f"seed_{seed}", seed=3 * seed) for seed in range(3)]


@pytest.fixture(scope="module")
def table(folders, make_run):
    of_network = {name: [make_run(name, seed=1)] for name in ("space_attention", "own")}
    of_network = {"baseline": folders, **of_network}
    return reproduction_table({name: read_runs(runs) for name, runs in of_network.items()})


def test_mean_and_deviation_are_those_of_the_runs_tables(folders, table):
    def row(network: str, score: str, scoring: str, finding: str) -> pd.Series:
        keys = {"network": network, "score": score, "scoring": scoring, "finding": finding}
        (found,) = table.loc[(table[list(keys)] == pd.Series(keys)).all(axis=1)].iloc
        return found

    auc = [
        pd.read_csv(f / "evaluation/auc.csv").set_index("finding")["auc"]["Mass"] for f in folders
    ]
    found = row("baseline", "AUC", "correct", "Mass")
    assert found["mean"] == pytest.approx(np.mean(auc))
    assert found["sd"] == pytest.approx(np.std(auc, ddof=1))
    assert (found["seeds"], found["published"]) == (3, 0.7563)
    assert np.isnan(row("own", "AUC", "correct", "Mass")[["sd", "published"]].astype(float)).all()
    for scoring, file in {
        "correct": "localization",
        "as published": "localization_published",
    }.items():
        tables = [pd.read_csv(f / f"evaluation/{file}.csv") for f in folders]
        level = [
            t.query("finding == 'Mean' and metric == 'IoBB' and threshold == 0.25") for t in tables
        ]
        expected = np.mean([one["accuracy"].item() for one in level])
        assert row("baseline", "IoBB > 0.25", scoring, "Mean")["mean"] == pytest.approx(expected)


def test_the_papers_figures_stand_beside_scores_of_the_same_arithmetic(table):
    known = table.dropna(subset="published").set_index(["score", "finding"]).sort_index()
    assert set(known["network"]) == {"baseline", "space_attention"}
    assert set(known.loc["AUC", "scoring"]) == {"correct"}
    assert set(known.drop(index="AUC", level="score")["scoring"]) == {"as published"}
    figures = known.set_index("network", append=True)["published"]
    assert figures["AUC", "Mean", "baseline"] == pytest.approx(0.784, abs=5e-4)
    assert figures["IoU > 0.3", "Infiltration", "space_attention"] == 0.5081  # not their report's


def test_page_and_terminal_have_the_papers_three_tables(table):
    page = reproduction_page(table, comparable=False)
    assert "not those of NIH's official list" in page
    assert "not those of NIH's official list" not in reproduction_page(table, comparable=True)
    header, rule, *rows = page.partition("Table 1)\n\n")[2].partition("\n\n")[0].splitlines()
    assert header.split("|")[1:4] == ["finding", "baseline: correct", "baseline: paper"]
    assert header.endswith("|space_attention: correct|space_attention: paper|own: correct|")
    assert rule.count("|") == header.count("|")
    assert len(rows) == 15
    assert any(row.startswith("|Mass|") and row.split("|")[3] == "0.756" for row in rows)
    assert page.count("## ") == 3
    means = means_text(table).splitlines()
    assert sum("IoU > 0.3" in line for line in means) == 6
    assert means[1].split()[-1] == "0.784"
