import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcxr.findings import BOXED_FINDINGS
from jaxcxr.reporting.gallery import best_ious, common_scores, galleries, ranks
from jaxcxr.reporting.runs import Cases, read_runs

DRAW_OVERLAYS = Path(__file__).parents[2] / "docs" / "draw_overlays.py"


@pytest.fixture(scope="module")
def cases(three_runs) -> dict[str, Cases]:
    runs = read_runs(three_runs)
    return {run.name: run.cases for run in runs if run.cases is not None}


@pytest.mark.parametrize(
    ("count", "places"),
    [
        (0, {}),
        (1, {0: "Best"}),
        (2, {1: "Best", 0: "Worst"}),
        (3, {2: "Best", 1: "Median", 0: "Worst"}),
        (8, {7: "Best", 3: "Median", 0: "Worst"}),
        (9, {8: "Best", 4: "Median", 0: "Worst"}),
    ],
)
def test_ranks_are_the_ends_and_the_middle(count, places):
    assert list(ranks(count).items()) == list(places.items())


def overlap(one, other):
    pixels = np.zeros((2, 64, 128), bool)
    for plane, (x, y, w, h) in zip(pixels, (one, other), strict=True):
        plane[int(y) : int(y + h), int(x) : int(x + w)] = True
    return (pixels[0] & pixels[1]).sum() / (pixels[0] | pixels[1]).sum()


def test_ious_are_those_of_counted_pixels(cases):
    some = cases["baseline"]
    counted = [
        max(
            overlap(case[list("xywh")], box[list("xywh")])
            for _, box in some.predicted.iterrows()
            if box["image_name"] == case["image_name"] and box["finding"] == case["finding"]
        )
        for _, case in some.annotated.iterrows()
    ]
    np.testing.assert_allclose(best_ious(some), counted, atol=1e-12)
    without = Cases(**{**vars(some), "predicted": some.predicted.iloc[1:]})
    assert best_ious(without)[0] == 0


def test_chosen_cases_are_best_median_and_worst_on_average(cases):
    drawn = galleries(cases, BOXED_FINDINGS)
    assert [gallery.finding for gallery in drawn] == list(BOXED_FINDINGS)
    for gallery in drawn:
        of_finding = cases["baseline"].annotated["finding"] == gallery.finding
        means = np.mean([best_ious(some)[of_finding] for some in cases.values()], axis=0)
        expected = [means.max(), np.quantile(means, 0.5, method="lower"), means.min()]
        np.testing.assert_allclose([case.iou for case in gallery.chosen], expected)
        assert gallery.available == of_finding.sum()
        for case in gallery.chosen:
            assert list(case.pictures) == list(cases)
            np.testing.assert_allclose(np.mean([*case.ious.values()]), case.iou)


def test_networks_differ_in_heat_maps_and_boxes_only(cases):
    best = galleries(cases, ["Mass"])[0].chosen[0]
    pictures = [best.plain, *best.pictures.values()]
    assert {picture.shape for picture in pictures} == {(256, 256, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 4
    some = cases["baseline"]
    without_boxes = Cases(**{**vars(some), "predicted": some.predicted.iloc[:0]})
    best = galleries({"baseline": without_boxes}, ["Mass"])[0].chosen[0]
    assert (best.pictures["baseline"] != best.plain).mean() > 0.5


def test_only_cases_that_all_runs_have_are_compared(cases, make_run):
    workdir = make_run(images=("00000001_000.png", "00000001_001.png"))
    other = read_runs([workdir])[0].cases
    assert other is not None
    scores = common_scores({"baseline": cases["baseline"], "other": other})
    assert scores.empty
    assert galleries({"baseline": cases["baseline"], "other": other}, BOXED_FINDINGS) == []


@pytest.mark.parametrize("name", ["x", "mean", "finding", "mean IoU"])
def test_a_run_may_have_any_name(cases, name):
    scores = common_scores({name: cases["baseline"]})
    np.testing.assert_allclose(scores["mean IoU"], best_ious(cases["baseline"]))
    assert list(scores["x"]) == list(cases["baseline"].annotated["x"])


def test_picture_of_the_readme_has_the_median_cases_of_five_findings(cases, three_runs, tmp_path):
    out = tmp_path / "overlays.png"
    subprocess.run([sys.executable, DRAW_OVERLAYS, three_runs[0], out], check=True)
    columns = np.split(np.asarray(Image.open(out)), 5, axis=1)
    findings = ("Cardiomegaly", "Effusion", "Pneumothorax", "Pneumonia", "Infiltration")
    for column, finding in zip(columns, findings, strict=True):
        (gallery,) = galleries({"baseline": cases["baseline"]}, [finding])
        _, median, _ = gallery.chosen
        above, below = np.split(column, 2)
        np.testing.assert_array_equal(above, median.plain)
        np.testing.assert_array_equal(below, median.pictures["baseline"])
