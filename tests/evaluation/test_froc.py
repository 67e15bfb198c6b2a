import tracemalloc

import numpy as np
import pandas as pd
import pytest

from jaxcxr.evaluation import statistics
from jaxcxr.evaluation.boxes import iou
from jaxcxr.evaluation.froc import RATES, froc
from jaxcxr.evaluation.localization import score_boxes
from jaxcxr.evaluation.outcome import localization_intervals
from tests.evaluation.test_comparison import boxes


def test_curve_by_hand():
    annotated = boxes(
        ("a", "Mass", 0, 0, 10, 10), ("a", "Nodule", 50, 50, 10, 10), ("b", "Mass", 0, 0, 10, 10)
    ).assign(patient=[1, 1, 2])  # fmt: skip
    predicted = boxes(
        ("a", "Mass", 0, 0, 10, 10),  # 0.9: found
        ("b", "Mass", 90, 90, 10, 10),  # 0.8: false
        ("a", "Mass", 0, 0, 10, 9),  # 0.7: found before
        ("b", "Nodule", 0, 0, 5, 5),  # 0.6: false, though b has no annotated nodule
        ("b", "Mass", 0, 0, 10, 8),  # 0.5: found
        ("c", "Mass", 0, 0, 10, 10),  # in no annotated image
    ).assign(score=[0.9, 0.8, 0.7, 0.6, 0.5, 1.0])
    result = froc(annotated, predicted, bootstraps=20)
    at = result.table.set_index(["finding", "fp_per_image"])["sensitivity"]
    assert [at["Mass", rate] for rate in (0.125, 0.25, 0.5, 8)] == [0.5, 0.5, 1, 1]
    assert [at["Nodule", rate] for rate in (0.125, 8)] == [0, 0]
    assert [at["Mean", rate] for rate in (0.125, 8)] == [0.25, 0.5]
    assert [at["All", rate] for rate in (0.125, 0.5, 1, 8)] == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 2 / 3]
    )
    pooled = result.curves[result.curves["finding"] == "All"]
    assert pooled["fp_per_image"].tolist() == [0, 0.5, 1, 1]
    assert pooled["score"].tolist() == [0.9, 0.8, 0.6, 0.5]
    assert set(result.table.groupby("finding")["boxes"].first()) == {2, 1, 3}


def plain(annotated, predicted, name, rate):
    """The greatest sensitivity at a rate, every score tried as the threshold."""
    images = annotated["image_name"].nunique()
    truth = annotated[(annotated["finding"] == name) | (name == "All")]
    best = 0
    for score in predicted["score"].unique():
        found, false = set(), 0
        for box in predicted[predicted["score"] >= score].itertuples():
            if (name not in ("All", box.finding)) or box.image_name not in set(
                annotated["image_name"]
            ):
                continue
            same = truth[
                (truth["image_name"] == box.image_name) & (truth["finding"] == box.finding)
            ]
            overlap = iou(np.array([[box.x, box.y, box.w, box.h]]), same[[*"xywh"]].to_numpy())
            found |= set(same.index[overlap > 0.3])
            false += not (overlap > 0.3).any()
        if false / images <= rate:
            best = max(best, len(found) / len(truth))
    return best


def random_study():
    rng = np.random.default_rng(4)

    def some(count):
        return boxes(
            *[
                (f"{image}", finding, *rng.uniform(0, 60, 2), *rng.uniform(30, 60, 2))
                for image in rng.integers(0, 9, count)
                for finding in rng.choice(["Mass", "Nodule"], 1)
            ]
        )

    annotated, predicted = some(14), some(50)
    return (
        annotated.assign(patient=annotated["image_name"].astype(int) // 2),
        predicted.assign(score=rng.integers(0, 12, 50) / 12),
    )


def test_sensitivities_are_those_of_every_threshold_tried():
    annotated, predicted = random_study()
    table = froc(annotated, predicted, bootstraps=5).table.set_index(["finding", "fp_per_image"])
    for name in ("Mass", "Nodule", "All"):
        for rate in RATES:
            expected = plain(annotated, predicted, name, rate)
            assert table.loc[(name, rate), "sensitivity"] == pytest.approx(expected)


def test_intervals_are_over_patients():
    annotated, predicted = random_study()
    table = froc(annotated, predicted, bootstraps=30, seed=1).table
    patients = np.unique(annotated["patient"])
    values = []
    for draw in statistics.draw_patients(len(patients), 30, 1):
        parts = [[], []]
        for copy, patient in enumerate(np.repeat(patients, draw)):
            names = annotated.loc[annotated["patient"] == patient, "image_name"].unique()
            for part, frame in zip(parts, (annotated, predicted), strict=True):
                own = frame[frame["image_name"].isin(names)]
                part.append(own.assign(image_name=own["image_name"] + f"/{copy}"))
        values.append(plain(*(pd.concat(part, ignore_index=True) for part in parts), "All", 1))
    row = table[(table["finding"] == "All") & (table["fp_per_image"] == 1)].iloc[0]
    expected = np.quantile(values, [0.025, 0.975])
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(expected)


def test_memory_does_not_grow_with_the_number_of_boxes():
    def peak(count):
        rng = np.random.default_rng(0)
        sides = pd.DataFrame(rng.uniform(1, 9, (count, 4)), columns=[*"xywh"])
        annotated = sides.assign(
            image_name=np.arange(count), finding="Mass", patient=rng.integers(40, size=count)
        )
        predicted = annotated.assign(score=rng.random(count))
        tracemalloc.start()
        froc(annotated, predicted)
        localization_intervals(score_boxes(annotated, predicted), annotated["patient"].to_numpy())
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(8000) < 1.2 * peak(2000)
