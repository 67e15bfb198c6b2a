import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import BoxRule, heatmap_boxes
from jaxcxr.evaluation.localization import score_boxes
from jaxcxr.evaluation.published_protocol import published_outcome
from jaxcxr.findings import FINDINGS, finding_index
from jaxcxr.images.grid import Grid
from jaxcxr.inference.heatmaps import HeatMaps
from jaxcxr.inference.prepared import annotated_cases, draw_boxes, predict_split

COUNT, SIZE = 11, 16
NAMES = np.array([f"{number:08}_000.png" for number in range(COUNT)])
GRID = Grid(1.0, 4.0)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(COUNT, SIZE, SIZE, 1), dtype=np.uint8)
LABELS = RNG.integers(2, size=(COUNT, 14), dtype=np.uint8)
BOXES = pd.DataFrame(
    [
        (NAMES[7], "Nodule", 1.0, 2.0, 3.0, 4.0),
        (NAMES[2], "Mass", 5.0, 6.0, 7.0, 8.0),
        (NAMES[7], "Mass", 9.0, 10.0, 11.0, 12.0),
        (NAMES[7], "Mass", 9.0, 10.0, 20.0, 12.0),
    ],
    columns=["image_name", "finding", "x", "y", "w", "h"],
)


class Split:
    num_images = COUNT

    def __init__(self, boxes=BOXES):
        self._boxes = boxes

    def boxes(self):
        return self._boxes

    def batches(self, batch_size, *, process_index=0, process_count=1):
        assert (process_index, process_count) == (0, 1)
        facts = {
            "image": IMAGES,
            "labels": LABELS,
            "image_name": NAMES,
            "patient": np.arange(COUNT) // 2,
            "age": 20 + np.arange(COUNT),
            "sex": np.array(["F", "M"] * 6)[:COUNT],
            "view": np.array(["PA", "AP"] * 6)[:COUNT],
            "png_size": np.stack([100 + np.arange(COUNT), 200 + np.arange(COUNT)], axis=1),
        }
        for start in range(0, COUNT, batch_size):
            batch = {name: array[start : start + batch_size] for name, array in facts.items()}
            padding = batch_size - len(batch["image"])
            yield {
                name: np.concatenate([array, np.zeros((padding, *array.shape[1:]), array.dtype)])
                for name, array in batch.items()
            } | {"mask": np.arange(batch_size) < batch_size - padding}


def network(images):
    """A network that sees the 4 x 4 blocks of a radiograph, each finding in its own way."""
    means = images.reshape(len(images), 4, 4, 4, 4).mean(axis=(2, 4))
    ways = np.arange(1, 15) * np.where(np.arange(14) % 2, 1, -1)
    heatmaps = means[..., None] * ways
    probabilities = 1 / (1 + np.exp(-heatmaps.max(axis=(1, 2)) / 4000))
    return probabilities, HeatMaps(heatmaps.astype(np.float32), GRID)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_every_radiograph_is_predicted_once(batch_size):
    labels, predictions = predict_split(network, Split(), batch_size)
    assert list(labels["Image Index"]) == list(predictions["Image Index"]) == list(NAMES)
    np.testing.assert_array_equal(labels[list(FINDINGS)], LABELS)
    np.testing.assert_array_equal(predictions[list(FINDINGS)], network(IMAGES)[0])
    assert list(labels["Patient ID"][:3]) == [0, 0, 1]
    assert list(labels["Patient Gender"][:2]) == ["F", "M"]


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_cases_are_the_annotated_boxes_with_their_findings_heat_maps(batch_size):
    cases = annotated_cases(network, Split(), batch_size)
    assert list(cases.image_names) == [NAMES[2], NAMES[7]]
    np.testing.assert_array_equal(cases.images, IMAGES[[2, 7], ..., 0])
    np.testing.assert_array_equal(cases.image_names[cases.case_image], BOXES["image_name"])
    probabilities, heatmaps = network(IMAGES)
    for case, (image, finding) in enumerate([(7, "Nodule"), (2, "Mass"), (7, "Mass"), (7, "Mass")]):
        column = finding_index(finding)
        np.testing.assert_array_equal(cases.heatmaps[case], heatmaps.values[image, ..., column])
        assert cases.probabilities[case] == probabilities[image, column]
        row = cases.annotated.iloc[case]
        assert (row["width"], row["height"], row["patient"]) == (
            100 + image,
            200 + image,
            image // 2,
        )
    arrays = cases.arrays()
    assert list(arrays["case_finding"]) == list(BOXES["finding"])
    assert all(array.dtype != object for array in arrays.values())


@pytest.mark.parametrize("regions", ["largest", "all"])
def test_boxes_are_drawn_once_per_radiograph_and_finding(regions):
    rule = BoxRule(cuts=(0.4,), regions=regions)
    cases = annotated_cases(network, Split(), 4)
    drawn = draw_boxes(cases, rule)
    pairs = [(NAMES[7], "Nodule", 0), (NAMES[2], "Mass", 1), (NAMES[7], "Mass", 2)]
    assert [key for key, _ in drawn.groupby(["image_name", "finding"], sort=False)] == [
        (name, finding) for name, finding, _ in pairs
    ]
    for name, finding, case in pairs:
        own = drawn[(drawn["image_name"] == name) & (drawn["finding"] == finding)]
        width, height = cases.png_sizes[cases.case_image[case]]
        # Cells at 1, 5, 9, 13 of 16 pixels; pixel 0 of the square covers width / 16 pixels.
        grid = [Grid(1.5 * side / SIZE - 0.5, 4 * side / SIZE) for side in (width, height)]
        expected = heatmap_boxes(cases.heatmaps[case], width, height, grid, rule)
        np.testing.assert_array_equal(own[["x", "y", "w", "h"]], expected.boxes)
        scores = cases.probabilities[case] * expected.peaks
        np.testing.assert_allclose(own["score"], scores)


def test_a_split_without_boxes_is_refused():
    with pytest.raises(UserError, match="no annotated boxes"):
        annotated_cases(network, Split(BOXES.iloc[:0]), 4)


def test_a_network_that_points_nowhere_draws_no_box_and_misses_all():
    def indifferent(images):
        maps = np.zeros((len(images), 4, 4, 14), np.float32)
        return np.full((len(images), 14), 0.5), HeatMaps(maps, GRID)

    cases = annotated_cases(indifferent, Split(), 4)
    drawn = draw_boxes(cases, BoxRule())
    assert drawn.empty
    for score in (score_boxes, published_outcome):
        assert not score(cases.annotated, drawn).correct.any()
