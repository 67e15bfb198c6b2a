"""Calibration on labels of one's own: what is fitted on one half is reported on the other."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from jaxcxr.errors import UserError
from jaxcxr.evaluation import own_labels, statistics, tables
from jaxcxr.findings import counterparts, match_finding

FINDINGS = ["Lung Opacity", "Effusion"]


def study(count=120):
    """Labels and predictions; patients have three radiographs, and nobody labeled "Effusion"."""
    rng = np.random.default_rng(0)
    present = rng.random(count) < 0.4
    probability = 1 / (1 + np.exp(-rng.normal(2 * present - 2)))
    labels = pd.DataFrame({"Lung Opacity": present.astype(int), "Effusion": 0})
    labels.insert(0, tables.IMAGE, [f"{number}.png" for number in range(count)])
    labels.insert(1, tables.PATIENT, [f"P{number // 3}" for number in range(count)])
    return labels, pd.DataFrame({"Lung Opacity": probability})


def test_one_half_is_fitted_and_the_other_reported():
    labels, predictions = study()
    result = own_labels.calibrate(labels, predictions, bootstraps=20)
    fitting = own_labels.fitting_half(labels[tables.PATIENT].to_numpy(), 0)
    patients = [set(labels[tables.PATIENT][half]) for half in (fitting, ~fitting)]
    assert not patients[0] & patients[1]
    assert [len(part) for part in patients] == [20, 20]

    truth, scores = labels["Lung Opacity"].to_numpy(), predictions["Lung Opacity"].to_numpy()
    logits = np.log(scores / (1 - scores))[:, None]
    line = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[fitting], truth[fitting])
    fitted = result.calibration.set_index("finding").loc["Lung Opacity"]
    assert fitted["slope"] == pytest.approx(line.coef_[0, 0], rel=1e-3)
    assert fitted["intercept"] == pytest.approx(line.intercept_[0], abs=1e-3)
    assert (fitted["positives"], fitted["radiographs"]) == (truth[fitting].sum(), 60)

    called = {threshold: scores[fitting] >= threshold for threshold in np.sort(scores[fitting])}
    youden = max(
        called,
        key=lambda t: called[t][truth[fitting] == 1].mean() - called[t][truth[fitting] == 0].mean(),
    )
    report = result.report.set_index("finding").loc["Lung Opacity"]
    rest = truth[~fitting] == 1
    assert report["auc"] == pytest.approx(roc_auc_score(rest, scores[~fitting]))
    assert report["sensitivity"] == pytest.approx((scores[~fitting][rest] >= youden).mean())
    assert report["specificity"] == pytest.approx((scores[~fitting][~rest] < youden).mean())
    assert (report["positives"], report["radiographs"]) == (rest.sum(), 60)


def test_finding_without_labels_has_no_number():
    result = own_labels.calibrate(*study(), bootstraps=20)
    report = result.report.set_index("finding").loc["Effusion"]
    assert report.drop(["positives", "radiographs"]).isna().all()
    fitted = result.calibration.set_index("finding").loc["Effusion"]
    assert fitted.drop(["positives", "radiographs"]).isna().all()
    assert result.operating_points.set_index("finding").loc["Effusion", "threshold"].isna().all()


def test_rates_of_bootstrap_draws_count_patients_with_all_their_radiographs():
    rng = np.random.default_rng(1)
    counted = rng.random((30, 2)) < 0.5
    counted[:, 1] = False
    hits = counted & (rng.random((30, 2)) < 0.7)
    patients = rng.integers(0, 8, 30)
    found = statistics.bootstrap_rates(hits, counted, patients, bootstraps=25, seed=3)
    names = np.unique(patients)
    for draw, rates in zip(statistics.draw_patients(len(names), 25, 3), found, strict=True):
        rows = [row for name, n in zip(names, draw, strict=True) for row in n * [patients == name]]
        part = sum(hits[row, 0].sum() for row in rows)
        assert rates[0] == pytest.approx(part / sum(counted[row, 0].sum() for row in rows))
        assert np.isnan(rates[1])


def test_labels_are_read_under_the_networks_names(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("Image Index,lung_opacity,Age,Pleural Effusion\na.png,1,50,0\nb.png,0,,1.0\n")
    labels, others = tables.read_labels(path, FINDINGS)
    assert list(labels) == [tables.IMAGE, tables.PATIENT, "Lung Opacity", "Effusion"]
    assert labels.to_numpy().tolist() == [["a.png", "a.png", 1, 0], ["b.png", "b.png", 0, 1]]
    assert others == ["Age"]
    path.write_text("Image Index,Effusion\na.png,-1\nb.png,\nc.png,0\n")
    unknown = tables.read_labels(path, FINDINGS)[0]["Effusion"]
    np.testing.assert_array_equal(unknown, [np.nan, np.nan, 0])
    path.write_text("Image Index,Effusion\na.png,2\n")
    with pytest.raises(UserError, match="line 2: Effusion is '2'; expected 0, 1, or an empty"):
        tables.read_labels(path, FINDINGS)
    path.write_text("Image Index,Cough\na.png,1\n")
    with pytest.raises(UserError, match="expected columns 'Image Index' and findings: Lung Opac"):
        tables.read_labels(path, FINDINGS)


def test_findings_of_other_label_sets_are_mapped_by_name():
    names = ["Pleural Effusion", "Effusion", "Lung Opacity", "Infiltrate", "pleural thickening"]
    assert counterparts(names) == {"Effusion": 1, "Infiltration": 3, "Pleural_Thickening": 4}
    assert match_finding("lung_opacity", names) == "Lung Opacity"
    assert match_finding("Infiltration", names) == "Infiltrate"
    for unknown in ("Edema", "Cough"):
        with pytest.raises(KeyError):
            match_finding(unknown, names)
