from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxcxr.evaluation import boxes as geometry
from jaxcxr.evaluation.localization import (
    OVERLAP_LEVELS,
    cut_table,
    overlap_table,
    pointing_game,
    score_boxes,
)
from jaxcxr.evaluation.outcome import (
    LEVELS,
    localization_intervals,
    localization_table,
)
from jaxcxr.evaluation.published_protocol import NO_FAULTS, Faults, published_outcome
from jaxcxr.evaluation.statistics import draw_patients
from jaxcxr.findings import BOXED_FINDINGS, canonical_finding
from jaxcxr.reporting.score_text import localization_text

REAL_BOXES = Path(__file__).parents[3] / "shared" / "nih_metadata" / "BBox_List_2017.csv"
needs_real_boxes = pytest.mark.skipif(
    not REAL_BOXES.exists(), reason="NIH's box list is not beside the checkout"
)
MEASURES = {"IoU": geometry.iou, "IoBB": geometry.iobb, "IoGT": geometry.iogt}


def table_of(*rows):
    columns = ["image_name", "finding", "x", "y", "w", "h"]
    return pd.DataFrame(list(rows), columns=columns).assign(width=1024, height=1024)


def random_boxes(seed, count, images=12, findings=("Mass", "Nodule", "Effusion")):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 400, size=(count, 2))
    sizes = rng.uniform(50, 600, size=(count, 2))
    return pd.DataFrame(
        {
            "image_name": [f"{number:08}_000.png" for number in rng.integers(images, size=count)],
            "finding": rng.choice(findings, size=count),
            **dict(zip("xywh", [*corners.T, *sizes.T], strict=True)),
            "width": 1024,
            "height": 1024,
        }
    )


@pytest.fixture(scope="module")
def real_boxes():
    boxes = pd.read_csv(REAL_BOXES, usecols=range(6))
    boxes.columns = ["image_name", "finding", "x", "y", "w", "h"]
    boxes["finding"] = boxes["finding"].map(canonical_finding)
    return boxes.assign(width=1024, height=1024)


def at(table, finding, metric, threshold):
    rows = table[(table["finding"] == finding) & (table["metric"] == metric)]
    return rows[rows["threshold"] == threshold].iloc[0]


def test_cases_and_false_positives_by_hand():
    annotated = table_of(
        ("a.png", "Mass", 0, 0, 100, 100),
        ("a.png", "Nodule", 500, 500, 50, 50),
        ("b.png", "Mass", 200, 200, 100, 100),
        ("c.png", "Mass", 0, 0, 10, 10),
    )
    predicted = table_of(
        ("a.png", "Mass", 0, 0, 100, 50),  # IoU 0.5, IoBB 1, IoGT 0.5
        ("a.png", "Mass", 800, 800, 50, 50),  # meets nothing
        ("b.png", "Mass", 200, 200, 400, 100),  # IoU and IoBB 0.25, IoGT 1
        ("b.png", "Nodule", 0, 0, 9, 9),  # no annotated nodule there
    )
    outcome = score_boxes(annotated, predicted)
    table = localization_table(outcome)
    assert outcome.unjudged == 1
    mass = at(table, "Mass", "IoU", 0.2)
    assert (mass["boxes"], mass["accuracy"], mass["afp"]) == (3, 2 / 3, 1 / 3)
    assert at(table, "Mass", "IoU", 0.3)["accuracy"] == 1 / 3
    assert at(table, "Mass", "IoU", 0.3)["afp"] == 2 / 3
    # A score equal to the threshold is not enough.
    assert at(table, "Mass", "IoU", 0.5)["accuracy"] == 0
    assert at(table, "Mass", "IoU", 0.5)["afp"] == 1
    assert at(table, "Mass", "IoBB", 0.25)["accuracy"] == 1 / 3
    assert at(table, "Mass", "IoGT", 0.9)["accuracy"] == 1 / 3
    assert at(table, "Nodule", "IoU", 0.1)["accuracy"] == 0
    assert at(table, "Nodule", "IoU", 0.1)["afp"] == 0
    mean = at(table, "Mean", "IoU", 0.2)
    assert (mean["boxes"], mean["accuracy"]) == (4, pytest.approx(1 / 3))
    assert np.isnan(at(table, "Effusion", "IoU", 0.1)["accuracy"])
    assert "Mean" in localization_text(
        table, localization_intervals(outcome, np.arange(4), bootstraps=10)
    )


@pytest.mark.parametrize("seed", range(5))
def test_scores_case_by_case(seed):
    annotated, predicted = random_boxes(seed, 30), random_boxes(seed + 100, 60)
    table = localization_table(score_boxes(annotated, predicted))
    corners = [boxes[list("xywh")].to_numpy() for boxes in (annotated, predicted)]
    keys = [list(zip(b["image_name"], b["finding"], strict=True)) for b in (annotated, predicted)]
    same = np.array([[case == box for box in keys[1]] for case in keys[0]])
    for metric, threshold in LEVELS:
        hits = same & (MEASURES[metric](corners[1][None], corners[0][:, None]) > threshold)
        for finding in ("Mass", "Nodule", "Effusion"):
            cases = (annotated["finding"] == finding).to_numpy()
            images = annotated["image_name"][cases].unique()
            boxes = (
                (predicted["finding"] == finding) & predicted["image_name"].isin(images)
            ).to_numpy()
            row = at(table, finding, metric, threshold)
            assert row["accuracy"] == pytest.approx(hits[cases].any(axis=1).mean())
            assert row["boxes"] == cases.sum()
            false = boxes & ~hits.any(axis=0)
            assert row["afp"] == pytest.approx(false.sum() / len(images))
        means = table[(table["metric"] == metric) & (table["threshold"] == threshold)]
        of_findings = means[means["finding"] != "Mean"]
        mean = means[means["finding"] == "Mean"].iloc[0]
        assert mean["accuracy"] == pytest.approx(of_findings["accuracy"].mean())
        assert mean["afp"] == pytest.approx(of_findings["afp"].mean())


def test_without_predictions_every_box_is_missed():
    annotated = random_boxes(0, 20)
    table = localization_table(score_boxes(annotated, random_boxes(0, 0)))
    known = table[table["boxes"] > 0]
    assert (known["accuracy"] == 0).all()
    assert (known["afp"] == 0).all()
    published = localization_table(published_outcome(annotated, random_boxes(0, 0)))
    assert (published[published["boxes"] > 0]["accuracy"] == 0).all()


@needs_real_boxes
def test_annotated_boxes_fed_back_are_all_found(real_boxes):
    table = localization_table(score_boxes(real_boxes, real_boxes))
    assert (table["accuracy"] == 1).all()
    assert (table["afp"] == 0).all()
    counted = table[(table["metric"] == "IoU") & (table["threshold"] == 0.1)]
    assert list(counted["finding"]) == [*BOXED_FINDINGS, "Mean"]
    assert list(counted["boxes"]) == [180, 146, 153, 123, 85, 79, 120, 98, 984]


@needs_real_boxes
def test_published_protocol_counts_what_the_authors_counted(real_boxes):
    table = localization_table(published_outcome(real_boxes, real_boxes))
    counted = table[(table["metric"] == "IoU") & (table["threshold"] == 0.1)]
    assert list(counted["boxes"]) == [174, 135, 128, 124, 94, 76, 141, 112, 984]
    assert set(table["metric"]) == {"IoU", "IoBB"}


def published_by_loops(annotated, predicted, faults):
    """The authors' arithmetic, one image after the other, on their grid of 256."""
    rows = [tuple(row) for row in annotated[["image_name", "finding", *"xywh"]].to_numpy()]
    last = {row[0]: row for row in rows}
    correct = []
    for row in rows:
        image, finding, *truth = last[row[0]] if faults.overwritten_rows else row
        ax, ay, aw, ah = (side / 4 for side in truth)
        mine = predicted[(predicted["image_name"] == image) & (predicted["finding"] == finding)]
        best = None
        for x, y, w, h in mine[list("xywh")].to_numpy() / 4:
            if faults.pixel_rules:
                w, h = min(w, 256 - x - 5), min(h, 256 - y - 5)
                x, y = min(max(x, 0), 256 - 5), min(max(y, 0), 256 - 5)
            if best is None or w * h > best[2] * best[3]:
                best = (x, y, w, h)
        if best is None:
            correct.append([False] * 12)
            continue
        x, y, w, h = best
        more = 1 if faults.pixel_rules else 0
        shared = max(0, min(x + w, ax + aw) - max(x, ax) + more)
        shared *= max(0, min(y + h, ay + ah) - max(y, ay) + more)
        area = w * ah if faults.swapped_boxes else w * h
        iou = shared / (area + aw * ah - shared)
        iobb = shared / (aw * ah if faults.swapped_boxes else w * h)
        scores = [iou] * 7 + [iobb] * 5
        thresholds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.1, 0.25, 0.5, 0.75, 0.9]
        correct.append(
            [
                s >= t if faults.pixel_rules else s > t
                for s, t in zip(scores, thresholds, strict=True)
            ]
        )
    return np.array(correct)


@pytest.mark.parametrize("overwritten_rows", [True, False])
@pytest.mark.parametrize("swapped_boxes", [True, False])
@pytest.mark.parametrize("pixel_rules", [True, False])
def test_each_fault_by_loops(overwritten_rows, swapped_boxes, pixel_rules):
    faults = Faults(overwritten_rows, swapped_boxes, pixel_rules)
    annotated, predicted = random_boxes(5, 40), random_boxes(6, 50)
    predicted[["x", "y"]] -= 120  # some boxes begin outside their image
    outcome = published_outcome(annotated, predicted, faults)
    np.testing.assert_array_equal(outcome.correct, published_by_loops(annotated, predicted, faults))


def test_without_its_faults_the_published_protocol_is_the_correct_one():
    annotated = random_boxes(7, 40)
    predicted = random_boxes(8, 50).drop_duplicates(["image_name", "finding"])
    published = published_outcome(annotated, predicted, NO_FAULTS)
    correct = score_boxes(annotated, predicted)
    np.testing.assert_array_equal(published.correct, correct.correct[:, :12])


def test_pointing_game_by_hand():
    annotated = table_of(
        ("a.png", "Mass", 0, 0, 100, 100),
        ("b.png", "Mass", 0, 0, 100, 100),
        ("c.png", "Nodule", 0, 0, 100, 100),
    )
    points = np.array([[0, 99.9], [100, 50], [np.nan, np.nan]])
    outcome = pointing_game(annotated, points)
    table = localization_table(outcome).set_index("finding")
    assert table.loc["Mass", "accuracy"] == 0.5
    assert table.loc["Nodule", "accuracy"] == 0
    assert table.loc["Mean", "accuracy"] == 0.25
    assert table.loc["Mean", "boxes"] == 3


def test_overlaps_of_each_cut_by_loops():
    annotated, predicted = random_boxes(3, 30), random_boxes(4, 80)
    predicted["cut"] = np.random.default_rng(5).choice([0.3, 0.6], size=80)
    table = cut_table(annotated, predicted, [0.3, 0.6, "otsu"]).set_index(["cut", "finding"])
    for cut in (0.3, 0.6, "otsu"):
        means = []
        for finding in ("Mass", "Nodule", "Effusion"):
            best = []
            for case in annotated[annotated["finding"] == finding].itertuples():
                overlaps = [(0.0, 0.0, 0.0)]
                for box in predicted[predicted["cut"] == cut].itertuples():
                    if (box.image_name, box.finding) == (case.image_name, case.finding):
                        a, b = ([getattr(x, side) for side in "xywh"] for x in (box, case))
                        pair = np.array(a), np.array(b)
                        ratio = box.w * box.h / (case.w * case.h)
                        overlaps.append((geometry.iou(*pair), geometry.iobb(*pair), ratio))
                best.append(np.max(overlaps, axis=0))
            iou, iobb, ratio = np.transpose(best)
            measures = {"IoU": iou, "IoBB": iobb}
            levels = [np.mean(measures[metric] > t) for metric, t in OVERLAP_LEVELS]
            means.append([len(best), iou.mean(), *levels, np.median(ratio)])
            np.testing.assert_allclose(table.loc[(cut, finding)].to_numpy(float), means[-1])
        expected = [30, *np.mean(means, axis=0)[1:]]
        np.testing.assert_allclose(table.loc[(cut, "Mean")].to_numpy(float), expected)
    one = overlap_table(annotated, predicted)
    assert list(one) == ["finding", "boxes", "mean_iou", *list(one)[3:-1], "area_ratio"]
    assert (one["mean_iou"].iloc[-1] >= table["mean_iou"].xs("Mean", level="finding")).all()


def test_intervals_are_those_of_drawn_patients():
    annotated, predicted = random_boxes(9, 40), random_boxes(10, 60)
    patients = annotated["image_name"].str[:8].astype(int).to_numpy() // 2
    outcome = score_boxes(annotated, predicted)
    table = localization_intervals(outcome, patients, bootstraps=50, seed=4)
    names = np.unique(patients)
    replicates = []
    for draw in draw_patients(len(names), 50, seed=4):
        chosen = np.repeat(np.arange(40), draw[np.searchsorted(names, patients)])
        drawn = score_boxes(annotated.iloc[chosen], predicted)
        replicates.append(localization_table(drawn)["accuracy"])
    low, high = np.nanquantile(np.array(replicates)[:, table["ci_low"].notna()], [0.025, 0.975], 0)
    np.testing.assert_allclose(table["ci_low"].dropna(), low, atol=1e-12)
    np.testing.assert_allclose(table["ci_high"].dropna(), high, atol=1e-12)


def test_levels_and_faults_are_those_of_the_paper():
    ious = [("IoU", threshold) for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
    others = [(metric, t) for metric in ("IoBB", "IoGT") for t in (0.1, 0.25, 0.5, 0.75, 0.9)]
    assert list(LEVELS) == [*ious, *others]
    assert Faults() == Faults(overwritten_rows=True, swapped_boxes=True, pixel_rules=True)
