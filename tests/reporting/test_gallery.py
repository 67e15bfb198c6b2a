import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxcxr.findings import BOXED_FINDINGS
from jaxcxr.reporting.gallery import common_scores, galleries, ranks
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
    without = Cases(**{**vars(some), "predicted": some.predicted.iloc[1:]})
    scores = common_scores({"x": some, "mean": without})
    np.testing.assert_allclose(scores["x"], counted, atol=1e-12)
    np.testing.assert_allclose(scores["mean"], [0, *counted[1:]], atol=1e-12)
    names = scores.index.get_level_values("image_name")
    assert list(names) == list(some.annotated["image_name"])


def test_chosen_cases_are_best_median_and_worst_on_average(cases):
    drawn = galleries(cases, BOXED_FINDINGS)
    assert [gallery.finding for gallery in drawn] == list(BOXED_FINDINGS)
    for gallery in drawn:
        scores = common_scores(cases).xs(gallery.finding, level="finding")
        means = scores.to_numpy().mean(axis=1)
        expected = [means.max(), np.quantile(means, 0.5, method="lower"), means.min()]
        np.testing.assert_allclose([case.iou for case in gallery.chosen], expected)
        assert gallery.available == len(scores)
        for case in gallery.chosen:
            assert list(case.pictures) == list(cases)
            assert list(case.ious.values()) == scores.loc[case.image_name].iloc[0].tolist()
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


def test_picture_of_the_readme_has_the_best_and_worst_cases_of_five_findings(
    cases, three_runs, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, out, **_: drawn.append(figure))
    monkeypatch.setattr(sys, "argv", [DRAW_OVERLAYS, three_runs[0], tmp_path / "overlays.png"])
    runpy.run_path(DRAW_OVERLAYS, run_name="__main__")
    (figure,) = drawn
    shown = {axes.get_title(): axes.images[0].get_array() for axes in figure.axes}
    assert len(shown) == 10
    for finding in ("Cardiomegaly", "Effusion", "Pneumothorax", "Pneumonia", "Infiltration"):
        (gallery,) = galleries({"baseline": cases["baseline"]}, [finding])
        best, _, worst = gallery.chosen
        for case in (best, worst):
            title = f"{finding}, IoU {case.iou:.2f}"
            np.testing.assert_array_equal(shown[title], case.pictures["baseline"])
