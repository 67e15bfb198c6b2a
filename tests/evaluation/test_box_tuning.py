import math

import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.evaluation.box_tuning import (
    CUTS,
    boxes_digest,
    choose_cuts,
    read_box_rule,
    tune_boxes,
    write_box_rule,
)
from jaxcxr.evaluation.boxes import BoxRule, Scale, heatmap_boxes
from jaxcxr.findings import FINDINGS

SIDE = 64


def blobs():
    """Heat maps of probability with peaks of all heights, and boxes where they pass 0.25."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    maps, rows = [], []
    for number in range(24):
        finding = "Mass" if number % 2 else "Nodule"
        column, row = rng.uniform(24, 40, 2)
        distance = ((x - column) / 12) ** 2 + ((y - row) / 8) ** 2
        maps.append(rng.uniform(0.4, 1) * np.exp(-distance))
        (box,) = heatmap_boxes(maps[-1], SIDE, SIDE, rule=BoxRule("probability", (0.25,))).boxes
        rows.append((f"{number}.png", finding, *box))
    return maps, pd.DataFrame(rows, columns=["image_name", "finding", *"xywh"])


def drawn(maps, annotated, scale):
    rule = BoxRule(scale, CUTS)
    parts = [
        heatmap_boxes(heatmap, SIDE, SIDE, rule=rule).table(name, finding, 0.5, SIDE, SIDE)
        for heatmap, name, finding in zip(
            maps, annotated["image_name"], annotated["finding"], strict=True
        )
    ]
    return pd.concat(parts)


def test_scale_and_cut_that_drew_the_boxes_are_found():
    maps, annotated = blobs()
    scales: dict[Scale, pd.DataFrame] = {
        "range": drawn(maps, annotated, "range"),
        "peak": drawn(maps, annotated, "peak"),
        "probability": drawn(maps, annotated, "probability"),
    }
    table = tune_boxes(annotated, scales)
    assert list(table["finding"]) == list(FINDINGS)
    assert set(table["scale"]) == {"probability"}
    assert set(table["threshold"]) == {0.25}
    own = table.set_index("finding").loc[["Mass", "Nodule"]]
    np.testing.assert_array_equal(own[["boxes", "mean_iou"]], [[12, 1], [12, 1]])
    without = tune_boxes(annotated, {"range": scales["range"], "peak": scales["peak"]})
    assert np.nanmax(without["mean_iou"].to_numpy()) < 0.95


@pytest.mark.parametrize("min_boxes", [1, 10, 10**9])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cuts_are_the_best_of_their_finding_or_of_all(seed, min_boxes):
    rng = np.random.default_rng(seed)
    finding = np.repeat(["Mass", "Nodule", "Effusion"], [30, 9, 10])
    ious = rng.random((49, 7)).round(1)
    table = choose_cuts(finding, ious, range(7), min_boxes=min_boxes).set_index("finding")
    by_hand = {
        name: [math.fsum(ious[finding == name, cut]) / sum(finding == name) for cut in range(7)]
        for name in ("Mass", "Nodule", "Effusion")
    }
    over_findings = [sum(values[cut] for values in by_hand.values()) for cut in range(7)]
    for name in FINDINGS:
        chosen, count, mean = table.loc[name]
        assert count == sum(finding == name)
        values = over_findings if count < min_boxes or not count else by_hand[name]
        assert values[int(chosen)] == pytest.approx(max(values), abs=1e-9)
        if count:
            assert mean == pytest.approx(by_hand[name][int(chosen)])
        else:
            assert math.isnan(mean)


def test_the_middle_one_of_equal_cuts_is_chosen():
    ious = np.array([[0.1, 0.5, 0.5, 0.5, 0.2, 0.5]])
    table = choose_cuts(np.array(["Mass"]), ious, [1, 2, 3, 4, 5, 6], min_boxes=1)
    assert set(table["threshold"]) == {3}


def test_a_written_rule_is_read_again(tmp_path):
    maps, annotated = blobs()
    table = tune_boxes(annotated, {"peak": drawn(maps, annotated, "peak")})
    digest = boxes_digest(annotated)
    assert digest == boxes_digest(annotated.iloc[::-1])
    assert digest != boxes_digest(annotated.iloc[1:])
    path = tmp_path / "box_rule.csv"
    write_box_rule(table, "grad_cam, stage 3", digest, path)
    chosen = read_box_rule(path)
    cuts = dict(zip(table["finding"], table["threshold"], strict=True))
    assert chosen == (BoxRule("peak", by_finding=cuts), "grad_cam, stage 3", digest)
    text = path.read_text()
    for damage, message in (
        (text.replace("peak", "pek"), "box_rule.csv: scale is 'pek'.*run tune_boxes again"),
        (text.replace("Hernia,peak,", "Hernia,peak,1"), "cut is 1.*; expected a number from 0 to"),
        (text.replace("Hernia", "Edema"), "not one row per finding"),
    ):
        path.write_text(damage)
        with pytest.raises(UserError, match=message):
            read_box_rule(path)
