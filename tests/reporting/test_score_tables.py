import math

import pandas as pd
import pytest

from jaxcxr.evaluation.outcome import LEVELS, at_level
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from jaxcxr.reporting.runs import read_runs
from jaxcxr.reporting.score_tables import MEAN, Network, ScoreTable, auc_table, localization_table


def read(path):
    """Reads a table to the last digit, as `read_csv` of pandas 2 does not."""
    table = pd.read_csv(path, dtype=str)
    numbers = table.columns.difference(["finding", "metric"])
    return table.astype(dict.fromkeys(numbers, float))


def test_aucs_stand_beside_table_1_of_the_paper(three_runs):
    table = auc_table(read_runs(three_runs))
    assert table.groups == {"These runs": 3, "Published": 4}
    assert table.findings == list(FINDINGS)
    written = read(three_runs[2] / "evaluation" / "auc.csv").set_index("finding")
    attention_gated = table.networks[2]
    assert attention_gated.run == 2
    assert attention_gated.values == written["auc"].to_dict()
    assert attention_gated.intervals["Edema"] == tuple(written.loc["Edema", ["ci_low", "ci_high"]])
    assert table.counts["Edema"] == written.loc["Edema", "positives"]
    means = [round(network.values[MEAN], 3) for network in table.networks[3:]]
    assert means == [0.745, 0.784, 0.794, 0.757]


def test_every_threshold_has_the_runs_scored_both_ways(three_runs):
    runs = read_runs(three_runs)
    for level in LEVELS:
        table = localization_table(runs, level)
        own = [network for network in table.networks if network.run is not None]
        assert [network.run for network in own] == [0, 1, 2] * (1 if level[0] == "IoGT" else 2)
        assert table.findings == list(BOXED_FINDINGS)
        for index, name in {1: "localization", 4: "localization_published"}.items():
            rows = at_level(read(three_runs[1] / f"evaluation/{name}.csv"), level)
            if len(rows):
                expected = dict(zip(rows["finding"], rows["accuracy"], strict=True))
                assert own[index].values == expected
                assert own[index].false_positives == pytest.approx(
                    rows["afp"].iloc[-1], nan_ok=True
                )


@pytest.mark.parametrize(
    ("level", "means"),
    [
        (
            ("IoU", 0.3),
            {"ResNet-50 (Wang et al. 2017)": 0.221, "ResNet-34 baseline": 0.413}
            | {"Space attention": 0.398, "Attention gated": 0.360},
        ),
        (
            ("IoU", 0.1),
            {"ResNet-34 baseline (result files)": 0.729}
            | {"Space attention (result files)": 0.694},
        ),
    ],
)
def test_published_networks_have_the_most_trusted_figures(three_runs, level, means):
    table = localization_table(read_runs(three_runs[:1]), level)
    published = [network for network in table.networks if network.group == "Published"]
    assert {network.name: round(network.values[MEAN], 3) for network in published} == means


def table_of(*scores: float) -> ScoreTable:
    networks = [Network(str(k), "ours", {"Mass": score}) for k, score in enumerate(scores)]
    return ScoreTable([*networks, Network("rival", "theirs", {"Mass": 0.99})], {})


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ((0.7, 0.8), [False, True]),
        ((0.8001, 0.8004, 0.1), [True, True, False]),
        ((0.5, math.nan), [True, False]),
        ((math.nan, math.nan), [False, False]),
        ((0.0, 0.0), [False, False]),
        ((0.9,), [False]),
    ],
)
def test_the_best_reads_highest_in_its_group(scores, best):
    table = table_of(*scores)
    assert [table.is_best(network, "Mass") for network in table.networks] == [*best, False]
    assert not table.is_best(table.networks[0], "Nodule")
