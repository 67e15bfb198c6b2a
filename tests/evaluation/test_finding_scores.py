from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from jaxcxr.evaluation import finding_scores
from jaxcxr.evaluation.calibration import with_platt
from jaxcxr.evaluation.comparison import paired_table
from jaxcxr.evaluation.statistics import bootstrap_aucs, delong_test
from jaxcxr.findings import FINDINGS
from jaxcxr.reporting.score_text import auc_text


def study(seed=0, count=400):
    """Labels and predictions of random radiographs; Hernia has no positive, Fibrosis no column."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 14)) < 0.3).astype(np.uint8)
    truth[:, FINDINGS.index("Hernia")] = 0
    scores = 1 / (1 + np.exp(-(rng.normal(size=(count, 14)) + truth)))
    names = [f"{number:08}_000.png" for number in range(count)]
    people = {
        "Image Index": names,
        "Patient ID": rng.integers(80, size=count),
        "Patient Age": rng.choice([3, 17, 18, 39, 40, 59, 60, 79, 80, 414], size=count),
        "Patient Gender": rng.choice(["F", "M"], size=count),
        "View Position": rng.choice(["PA", "AP"], size=count),
    }
    labels = pd.DataFrame({**people, **dict(zip(FINDINGS, truth.T, strict=True))})
    predictions = pd.DataFrame({"Image Index": names, **dict(zip(FINDINGS, scores.T, strict=True))})
    return labels, predictions.drop(columns="Fibrosis")


SCORED = [finding for finding in FINDINGS if finding not in ("Hernia", "Fibrosis")]


def test_scores_and_their_means():
    labels, predictions = study()
    table = finding_scores.score_table(labels, predictions, bootstraps=30).set_index("finding")
    assert list(table.index) == [*FINDINGS, "Mean"]
    for finding in SCORED:
        truth, scores = labels[finding], predictions[finding]
        row = table.loc[finding]
        assert row["auc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        expected = average_precision_score(truth, scores)
        assert row["average_precision"] == pytest.approx(expected, abs=1e-12)
        assert row["ci_low"] < row["auc"] < row["ci_high"]
        assert (row["positives"], row["negatives"]) == (truth.sum(), (truth == 0).sum())
    assert table.loc[["Hernia", "Fibrosis"], ["auc", "ci_low", "ci_high"]].isna().all(axis=None)
    for name in ("auc", "average_precision"):
        assert table.loc["Mean", name] == pytest.approx(table.loc[SCORED, name].mean())
    assert table.loc["Mean", "positives"] == table.loc[SCORED, "positives"].sum()
    replicates = bootstrap_aucs(
        labels[SCORED].to_numpy(),
        predictions[SCORED].to_numpy(),
        labels["Patient ID"].to_numpy(),
        bootstraps=30,
    ).mean(axis=1)
    interval = table.loc["Mean", ["ci_low", "ci_high"]].to_numpy(float)
    np.testing.assert_allclose(interval, np.quantile(replicates, [0.025, 0.975]))
    nobody = labels.assign(**dict.fromkeys(FINDINGS, 0))
    table = finding_scores.score_table(nobody, predictions, bootstraps=10)
    assert table["auc"].isna().all()


def test_unknown_labels_are_left_out_of_every_score_and_counted():
    labels, predictions = study()
    unknown = np.random.default_rng(1).random((len(labels), 14)) < 0.4
    unknown[:, FINDINGS.index("Mass")] = True
    truth = labels[list(FINDINGS)]
    labels[list(FINDINGS)] = truth.where(~unknown)
    points = finding_scores.operating_points(labels, predictions)
    tables = {
        "scores": finding_scores.score_table(labels, predictions, bootstraps=20),
        "rates": finding_scores.rates_table(labels, predictions, points),
        "fitted": finding_scores.fit_calibration(labels, predictions),
        "pairs": paired_table(labels, [predictions], [1 - predictions[SCORED]], bootstraps=20),
        "calibrated": finding_scores.calibration_table(
            labels, predictions, finding_scores.fit_calibration(labels, predictions)
        ),
    }
    tables = {name: table.set_index("finding") for name, table in tables.items()}
    scores = tables["scores"]
    assert scores["unknown"].tolist()[:14] == unknown.sum(0).tolist()
    assert (scores[["positives", "negatives", "unknown"]].sum(axis=1)[:14] == len(labels)).all()
    assert scores.loc["Mass", ["auc", "brier", "ece"]].isna().all()
    for finding in (name for name in SCORED if name != "Mass"):  # the known ones alone
        rows = labels[finding].notna()
        alone = labels.loc[rows, [*labels.columns[:5], *FINDINGS]].copy()
        alone[list(FINDINGS)] = alone[list(FINDINGS)].fillna(0).astype(int)
        expected = finding_scores.score_table(alone, predictions[rows], bootstraps=2)
        columns = ["auc", "positives", "negatives", "average_precision", "brier", "ece"]
        given, wanted = scores.loc[finding, columns], expected.set_index("finding").loc[finding]
        np.testing.assert_allclose(given.astype(float), wanted[columns].astype(float))
        own = finding_scores.operating_points(alone, predictions[rows]).set_index("finding")
        rates = finding_scores.rates_table(alone, predictions[rows], own.reset_index())
        pd.testing.assert_frame_equal(
            tables["rates"].loc[[finding]], rates.set_index("finding").loc[[finding]]
        )
        fitted = finding_scores.fit_calibration(alone, predictions[rows]).set_index("finding")
        pd.testing.assert_series_equal(
            tables["fitted"].loc[finding], fitted.loc[finding], check_dtype=False
        )
        p_value = delong_test(
            alone[finding].to_numpy(),
            predictions.loc[rows, finding].to_numpy(),
            1 - predictions.loc[rows, finding].to_numpy(),
            alone["Patient ID"].to_numpy(),
        ).p_value
        assert tables["pairs"].loc[finding, "p_value"] == pytest.approx(p_value)
    text = auc_text(tables["scores"].reset_index(), predictions)
    assert "no known label" in text
    assert "unknown" in text.splitlines()[0]


def test_groups_hold_everybody_once_per_kind():
    labels, _ = study()
    kinds = pd.DataFrame([(kind, members) for kind, _, members in finding_scores.groups(labels)])
    for _, members in kinds.groupby(0)[1]:
        np.testing.assert_array_equal(np.sum(list(members), axis=0), 1)
    named = {name: members for _, name, members in finding_scores.groups(labels)}
    assert list(named) == ["All", "AP", "PA", "F", "M", "0-17", "18-39", "40-59", "60-79", "80+"]
    assert set(labels["Patient Age"][named["18-39"]]) == {18, 39}
    assert set(labels["Patient Age"][named["80+"]]) == {80, 414}


def test_a_groups_scores_are_those_of_its_radiographs():
    labels, predictions = study()
    score = partial(finding_scores.score_table, bootstraps=10)
    table = finding_scores.by_group(score, labels, predictions)
    assert list(table)[:3] == ["group", "value", "finding"]
    women = (labels["Patient Gender"] == "F").to_numpy()
    expected = score(labels[women], predictions[women])
    found = table[table["value"] == "F"].drop(columns=["group", "value"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)


def test_operating_points_come_from_validation():
    points = finding_scores.operating_points(*study(seed=1))
    assert list(points["rule"].unique()) == ["youden", "specificity 0.9"]
    assert len(points) == 28
    on_validation = finding_scores.rates_table(*study(seed=1), points)
    fixed = on_validation[on_validation["rule"] == "specificity 0.9"].set_index("finding")
    assert fixed.loc[SCORED, "specificity"].between(0.9, 0.92).all()
    on_test = finding_scores.rates_table(*study(seed=2), points)
    pd.testing.assert_series_equal(on_test["threshold"], on_validation["threshold"])
    assert (on_test["sensitivity"] != on_validation["sensitivity"]).any()
    assert on_test.set_index("finding").loc["Fibrosis", "sensitivity"].isna().all()
    chosen = points[points["rule"] == "youden"]  # a part of the table keeps its rows' index
    rates = finding_scores.rates_table(*study(seed=2), chosen)
    pd.testing.assert_frame_equal(rates, on_test.loc[chosen.index])


def test_scaling_improves_calibration_where_it_was_fitted():
    labels, predictions = study()
    fitted = finding_scores.fit_calibration(labels, predictions)
    table = finding_scores.calibration_table(labels, predictions, fitted).set_index("finding")
    fitted = fitted.set_index("finding")
    assert list(fitted) == ["slope", "intercept", "positives", "radiographs"]
    assert fitted.loc["Mass", "positives"] == labels["Mass"].sum()
    assert fitted["radiographs"].eq(len(labels)).all()
    fitted = fitted[["slope", "intercept"]]
    assert fitted.loc[["Hernia", "Fibrosis"]].isna().all(axis=None)
    of_scored = table.loc[SCORED]
    assert (of_scored["brier_platt"] < of_scored["brier"]).all()
    assert of_scored["ece_platt"].mean() < of_scored["ece"].mean()
    for score in ("brier", "ece"):
        assert table.loc["Hernia", f"{score}_platt"] == pytest.approx(table.loc["Hernia", score])
        assert table.loc[["Fibrosis"], [score, f"{score}_platt"]].isna().all(axis=None)
    truth, reported = labels["Mass"].to_numpy(), predictions["Mass"].to_numpy()
    assert table.loc["Mass", "brier"] == pytest.approx(brier_score_loss(truth, reported))
    scaled = with_platt(reported, *fitted.loc["Mass"])
    assert table.loc["Mass", "brier_platt"] == pytest.approx(brier_score_loss(truth, scaled))
    assert table.loc["Mean", "ece_platt"] == pytest.approx(table.iloc[:-1]["ece_platt"].mean())


def test_curves_are_of_findings_that_have_one():
    curves = finding_scores.roc_curves(*study())
    assert list(curves) == SCORED
    assert {len(curve) for curve in curves.values()} == {2}


def test_pairs_are_compared_finding_by_finding():
    labels, a = study(seed=0)
    rng = np.random.default_rng(5)
    noise = {name: (a[name] + rng.random(len(a))) / 2 for name in SCORED}
    b = a.assign(**noise)
    table = paired_table(labels, [a], [b], bootstraps=30).set_index("finding")
    patients = labels["Patient ID"].to_numpy()
    arrays = [frame[SCORED].to_numpy() for frame in (labels, a, b)]
    replicates = bootstrap_aucs(arrays[0], arrays[1], patients, bootstraps=30)
    replicates -= bootstrap_aucs(arrays[0], arrays[2], patients, bootstraps=30)
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(table.loc[SCORED, "ci_low"], low)
    np.testing.assert_allclose(table.loc[SCORED, "ci_high"], high)
    for index, finding in enumerate(SCORED):
        expected = delong_test(*(array[:, index] for array in arrays), patients)
        assert table.loc[finding, "p_value"] == pytest.approx(expected.p_value)
        assert table.loc[finding, "difference"] == pytest.approx(expected.auc_a - expected.auc_b)
    known = table.loc[SCORED]
    assert (known["p_holm"] >= known["p_value"]).all()
    smallest = known["p_value"].min()
    assert known["p_holm"].min() == pytest.approx(min(1, smallest * len(SCORED)))
    assert table.loc[["Hernia", "Fibrosis", "Mean"], "p_value"].isna().all()
    assert table.loc["Mean", "difference"] == pytest.approx(known["difference"].mean())
