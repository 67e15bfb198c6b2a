"""Comparisons of systems with several runs, and of boxes, against plain loops."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from jaxcxr.evaluation import statistics
from jaxcxr.evaluation.boxes import iou
from jaxcxr.evaluation.comparison import paired_boxes_table, paired_table

PATIENTS = np.repeat(np.arange(30), 2)
FEW = ["Mass", "Nodule"]


def study(runs, seed=0):
    """Returns labels of two findings and predictions of runs of two systems."""
    rng = np.random.default_rng(seed)
    labels = pd.DataFrame(rng.integers(2, size=(60, 2)), columns=FEW)
    labels.insert(0, "Patient ID", PATIENTS)
    labels.insert(0, "Image Index", [f"{row}.png" for row in range(60)])
    tables = [
        pd.DataFrame(labels[FEW] * better + rng.normal(size=(60, 2)), columns=FEW)
        for better in (1.0, 0.7)
        for _ in range(runs)
    ]
    return labels, tables[:runs], tables[runs:]


def test_runs_are_averaged_and_tested_against_their_patients():
    labels, a, b = study(runs=3)
    table = paired_table(labels, a, b, bootstraps=40, seed=2).set_index("finding")
    aucs = [[roc_auc_score(labels["Mass"], run["Mass"]) for run in system] for system in (a, b)]
    mass = table.loc["Mass"]
    assert [mass["auc_a"], mass["auc_b"]] == pytest.approx(np.mean(aucs, axis=1))
    assert [mass["sd_a"], mass["sd_b"]] == pytest.approx(np.std(aucs, axis=1, ddof=1))
    draws = statistics.draw_patients(30, 40, 2)
    differences = []
    for draw in draws:
        rows = np.repeat(np.arange(60), draw[PATIENTS])
        of = [
            np.mean([roc_auc_score(labels["Mass"][rows], run["Mass"][rows]) for run in system])
            for system in (a, b)
        ]
        differences.append(of[0] - of[1])
    assert [mass["ci_low"], mass["ci_high"]] == pytest.approx(
        np.quantile(differences, [0.025, 0.975])
    )
    # DeLong's test of means: the variance of 40,000 such draws is near that of the formula.
    many = paired_table(labels, a, b, bootstraps=4000)
    z = norm.isf(many["p_value"][0] / 2)
    deviation = (many["ci_high"][0] - many["ci_low"][0]) / (2 * 1.96)
    assert abs(many["difference"][0]) / z == pytest.approx(deviation, rel=0.15)


def test_one_run_has_no_columns_over_runs():
    labels, a, b = study(runs=1)
    assert "p_both" not in paired_table(labels, a, b, bootstraps=10)
    spread = paired_table(labels, a, b * 3, bootstraps=10).set_index("finding")
    assert np.isnan(spread.loc["Mass", "sd_a"])
    assert spread.loc["Mass", "sd_b"] == pytest.approx(0, abs=1e-12)


def boxes(*rows):
    return pd.DataFrame(rows, columns=["image_name", "finding", *"xywh"]).assign(score=1.0)


def test_variance_over_runs_is_that_of_their_mean():
    """All patients are alike here, so only the draw of runs remains."""
    annotated = boxes(*[(f"{n}", "Mass", 0, 0, 10, 10) for n in range(8)]).assign(patient=0)
    found = [0.25, 0.5, 1.0]
    runs = [annotated.iloc[: int(8 * part)] for part in found]
    nothing = annotated.iloc[:0]
    table = paired_boxes_table(annotated, runs, [nothing], bootstraps=20_000)
    row = table[(table["finding"] == "Mass") & (table["metric"] == "IoU")].iloc[0]
    assert row["accuracy_a"] == pytest.approx(np.mean(found))
    assert row["ci_low"] == row["ci_high"] == pytest.approx(np.mean(found))
    assert row["sd_a"] == pytest.approx(np.std(found, ddof=1))
    # Two of three runs are drawn: the means that they can have, and their ends.
    assert row["both_low"] == pytest.approx(0.25)
    assert row["both_high"] == pytest.approx(1.0)
    means = [np.mean([x, y]) for x in found for y in found]
    assert np.var(means) == pytest.approx(np.var(found, ddof=1) / 3)
    assert row["p_value"] == row["p_both"] == 1  # one patient proves nothing


def test_boxes_are_compared_by_patient():
    rng = np.random.default_rng(0)
    rows = [
        (f"{n}", finding, *rng.uniform(0, 90, 2), *rng.uniform(20, 90, 2))
        for n in range(20)
        for finding in FEW
    ]
    annotated = boxes(*rows).assign(patient=np.repeat(np.arange(10), 4))
    shifted = [annotated.assign(x=annotated["x"] + rng.normal(0, s, 40)) for s in (10, 40)]
    table = paired_boxes_table(annotated, shifted[:1], shifted[1:], bootstraps=60, seed=3)
    corners = [frame[[*"xywh"]].to_numpy() for frame in (*shifted, annotated)]
    hits = [iou(predicted, corners[2]) > 0.5 for predicted in corners[:2]]
    draws = statistics.draw_patients(10, 60, 3)
    differences = {name: [] for name in (*FEW, "Mean")}
    for draw in draws:
        rows = np.repeat(np.arange(40), draw[annotated["patient"]])
        for name in FEW:
            own = rows[annotated["finding"].to_numpy()[rows] == name]
            differences[name].append(hits[0][own].mean() - hits[1][own].mean())
        differences["Mean"].append(np.mean([differences[name][-1] for name in FEW]))
    at = table[(table["metric"] == "IoU") & (table["threshold"] == 0.5)].set_index("finding")
    for name, drawn in differences.items():
        drawn = np.array(drawn)
        row = at.loc[name]
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    every = paired_boxes_table(annotated, shifted[:1], shifted[1:], bootstraps=20_000)
    every = every[(every["metric"] == "IoU") & (every["threshold"] == 0.5)].set_index("finding")
    for name in FEW:
        own = (annotated["finding"] == name).to_numpy()
        by_patient = [
            (hits[0] & own & of).sum() - 1.0 * (hits[1] & own & of).sum()
            for of in (annotated["patient"].to_numpy() == number for number in range(10))
        ]
        exchanged = [np.dot(s, by_patient) for s in itertools.product((-1, 1), repeat=10)]
        exact = np.mean(np.abs(exchanged) >= abs(sum(by_patient)))
        assert every.loc[name, "p_value"] == pytest.approx(exact, abs=0.012)
    pair = at.loc[FEW, "p_value"].to_numpy()
    np.testing.assert_allclose(at.loc[FEW, "p_holm"], statistics.holm(pair))
    assert np.isnan(at.loc["Mean", "p_holm"])
    assert np.isnan(at.loc["Effusion", "p_value"])
