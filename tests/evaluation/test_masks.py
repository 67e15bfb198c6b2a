"""Scores of heat maps against CheXlocalize's arithmetic, pixel by pixel.

The reference follows github.com/rajpurkarlab/cheXlocalize (eval.py, heatmap_to_segmentation.py,
tune_heatmap_threshold.py, tune_probability_threshold.py) in plain loops.
"""

import json

import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.evaluation import masks as scoring
from jaxcxr.evaluation.map_files import find_maps

FINDINGS = ["Airspace Opacity", "Edema"]
IMAGES = [f"patient{n // 2}_study{n}_view1" for n in range(6)]


def rle(mask, compressed):
    """Encodes a mask down its columns, a pixel at a time."""
    runs, current, length = [], 0, 0
    for value in mask.T.ravel().astype(int):
        if value != current:
            runs.append(length)
            current, length = value, 0
        length += 1
    runs.append(length)
    if not compressed:
        return {"size": [*mask.shape], "counts": runs}
    text = ""
    for place, run in enumerate(runs):
        number = run - runs[place - 2] if place > 2 else run
        while True:
            group, number = number % 32, number // 32
            done = (number == 0 and group < 16) or (number == -1 and group >= 16)
            text += chr(48 + group + (0 if done else 32))
            if done:
                break
    return {"size": [*mask.shape], "counts": text}


def reference(heat, mask, cut, true_positives):
    """Returns IoU and hit of one heat map of the mask's shape."""
    low, high = heat.min(), heat.max()
    predicted = (heat - low) / (high - low) > cut
    hit = float(mask.ravel()[heat.ravel().tolist().index(high)]) if mask.any() else np.nan
    return reference_overlap(predicted, mask, true_positives), hit


def reference_overlap(predicted, mask, true_positives):
    both = either = 0
    for row, column in np.ndindex(mask.shape):
        both += predicted[row, column] and mask[row, column]
        either += predicted[row, column] or mask[row, column]
    no_score = either == 0 or (true_positives and not (predicted.any() and mask.any()))
    return np.nan if no_score else both / either


def study(seed=0):
    rng = np.random.default_rng(seed)
    masks = {
        image: {name: rng.random((9, 12)) < rng.choice([0, 0.1, 0.5]) for name in FINDINGS}
        for image in IMAGES
    }
    heats = {(image, name): rng.random((9, 12)) for image in IMAGES for name in FINDINGS}
    return masks, heats


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_are_decoded(compressed):
    rng = np.random.default_rng(0)
    for density in (0, 0.02, 0.5, 1):
        mask = rng.random((70, 90)) < density
        mask[:, 20:60] |= density == 0.02  # long runs, and negative differences
        np.testing.assert_array_equal(scoring.decode_rle(rle(mask, compressed)), mask)
    with pytest.raises(ValueError, match="runs of 5 pixels for 2 × 3"):
        scoring.decode_rle({"size": [2, 3], "counts": [2, 3]})


@pytest.mark.parametrize("true_positives", [True, False])
def test_scores_are_the_public_ones(tmp_path, true_positives):
    masks, heats = study()
    for (image, name), heat in heats.items():
        np.save(tmp_path / f"{image}_{name}_map.npy", heat)
    coded = {i: {n: rle(m, True) for n, m in own.items()} for i, own in masks.items()}
    (tmp_path / "masks.json").write_text(json.dumps(coded))
    masks_read = scoring.read_masks(tmp_path / "masks.json")
    maps = find_maps(tmp_path, masks_read, FINDINGS)
    cuts = {"Airspace Opacity": 0.3, "Edema": 0.6}
    scores = scoring.score_maps(masks_read, maps, cuts, true_positives)
    expected = [
        reference(heats[row.image_name, row.finding], masks[row.image_name][row.finding],
                  cuts[row.finding], true_positives)
        for row in scores.itertuples()
    ]  # fmt: skip
    np.testing.assert_allclose(scores[["iou", "hit"]], expected, rtol=0, atol=1e-9)
    table = scoring.map_table(scores, [name.split("_")[0] for name in scores["image_name"]])
    for name in FINDINGS:
        own = np.array(expected)[(scores["finding"] == name).to_numpy()]
        row = table.set_index("finding").loc[name]
        assert [row["miou"], row["hit_rate"]] == pytest.approx(np.nanmean(own, axis=0))
        assert row["miou_low"] <= row["miou"] <= row["miou_high"]


def test_cut_is_the_first_best_on_validation():
    masks, heats = study(seed=3)
    maps = {key: lambda size, heat=heat: heat for key, heat in heats.items()}
    chosen = scoring.choose_cuts(masks, maps)
    for name in FINDINGS:
        means = [
            np.nanmean([reference(heats[i, name], masks[i][name], cut, True)[0] for i in IMAGES])
            for cut in scoring.CUTS
        ]
        assert chosen[name] == scoring.CUTS[means.index(max(means))]


def test_all_images_are_scored_with_cutoffs_of_the_probability(tmp_path):
    masks, heats = study(seed=1)
    rng, none = np.random.default_rng(2), np.zeros((9, 12), bool)
    heats |= {("patient8_study9_view1", name): rng.random((9, 12)) for name in FINDINGS}
    masks["patient8_study9_view1"] = {}  # as good as not named
    heats |= {("patient9_study9_view1", name): rng.random((9, 12)) for name in FINDINGS}
    for (image, name), heat in heats.items():
        np.save(tmp_path / f"{image}_{name}.npy", heat)
    truth = {key: masks.get(key[0], {}).get(key[1], none) for key in heats}
    probabilities = {key: rng.random() * (0.6 + 0.4 * truth[key].any()) for key in heats}
    maps = find_maps(tmp_path, masks, FINDINGS, others=True)
    assert maps.keys() == heats.keys()

    def reference_at(key, is_empty):
        predicted = none if is_empty else scoring.predicted_mask(heats[key], None)
        return reference_overlap(predicted, truth[key], False)

    expected = {}
    for name in FINDINGS:
        of_finding = [key for key in heats if key[1] == name]
        means = [
            round(np.nanmean([reference_at(k, probabilities[k] <= cut) for k in of_finding]), 3)
            for cut in np.arange(0, 0.9, 0.1)
        ]
        expected[name] = round(0.1 * means.index(max(means)), 1)
    cutoffs = scoring.choose_cutoffs(masks, maps, probabilities)
    assert cutoffs == expected
    assert min(cutoffs.values()) > 0
    empty = scoring.improbable(probabilities, cutoffs)
    scores = scoring.score_maps(masks, maps, {}, False, empty)
    keys = [*zip(scores["image_name"], scores["finding"], strict=True)]
    assert sorted(keys) == sorted(heats)
    overlaps = [reference_at(key, probabilities[key] < cutoffs[key[1]]) for key in keys]
    np.testing.assert_allclose(scores["iou"], overlaps, rtol=0, atol=1e-9)
    hits = scoring.score_maps(masks, maps, {}, False)["hit"]
    np.testing.assert_array_equal(scores["hit"], hits)


def test_otsu_threshold_is_that_of_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    rng = np.random.default_rng(0)
    for power in (0.3, 1, 2, 5):
        heat = np.sort(rng.random(900) ** power).reshape(30, 30)  # without holes, single pixels
        levels = np.uint8(255 * (heat - heat.min()) / np.ptp(heat))
        expected = levels > filters.threshold_otsu(levels)
        np.testing.assert_array_equal(scoring.predicted_mask(heat, None), expected)


def test_otsu_mask_is_filled_and_without_single_pixels():
    heat = np.full((9, 12), 0.1)
    heat[1:6, 1:6] = 0.9
    heat[3, 3] = 0.0  # a hole
    heat[7, 10] = 0.95  # a single pixel
    expected = np.zeros((9, 12), bool)
    expected[1:6, 1:6] = True
    np.testing.assert_array_equal(scoring.predicted_mask(heat, None), expected)
    assert not scoring.predicted_mask(np.ones((3, 3)), None).any()
    assert not scoring.predicted_mask(np.ones((3, 3)), 0.2).any()


def test_polygons_and_boxes_become_the_same_masks(tmp_path):
    corners = [[2, 1], [7, 1], [7, 4], [2, 4]]  # outlines belong to a polygon
    expected = np.zeros((9, 12), bool)
    expected[1:5, 2:8] = True
    path = tmp_path / "masks.json"
    path.write_text(json.dumps({"a": {"img_size": [9, 12], "Edema": [corners]}}))
    np.testing.assert_array_equal(scoring.read_masks(path)["a"]["Edema"], expected)
    coco = {
        "images": [{"id": 1, "file_name": "a", "height": 9, "width": 12}],
        "categories": [{"id": 5, "name": "Edema"}],
        "annotations": [
            {"image_id": 1, "category_id": 5, "segmentation": [np.ravel(corners).tolist()]},
            {"image_id": 1, "category_id": 5, "segmentation": rle(expected, False)},
        ],
    }
    path.write_text(json.dumps(coco))
    np.testing.assert_array_equal(scoring.read_masks(path)["a"]["Edema"], expected)
    box = pd.DataFrame([["a", "Edema", 1.6, 0.6, 6, 4.2, 12, 9]],
                       columns=["image_name", "finding", *"xywh", "width", "height"])  # fmt: skip
    np.testing.assert_array_equal(scoring.masks_of_boxes(box)["a"]["Edema"], expected)
    for wrong in ("[1]", '{"a": {"Edema": {"size": [1, 1]}}}', '{"a": {"Edema": [[1]]}}'):
        path.write_text(wrong)
        with pytest.raises(UserError, match="has no masks"):
            scoring.read_masks(path)
