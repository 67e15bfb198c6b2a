import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from jaxcxr.errors import UserError
from jaxcxr.evaluation import boxes as geometry
from jaxcxr.evaluation.boxes import BoxRule
from jaxcxr.evaluation.published_protocol import PUBLISHED_RULE
from jaxcxr.images.grid import Grid

SIDE = 24


@st.composite
def pixel_boxes(draw):
    x, y = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
    return x, y, draw(st.integers(1, SIDE - x)), draw(st.integers(1, SIDE - y))


def mask(box):
    x, y, w, h = (int(side) for side in box)
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[y : y + h, x : x + w] = True
    return pixels


@given(pixel_boxes(), pixel_boxes())
@settings(max_examples=200, deadline=None)
def test_overlaps_count_pixels(predicted, annotated):
    shared = np.sum(mask(predicted) & mask(annotated))
    a, b = np.array(predicted, float), np.array(annotated, float)
    assert geometry.intersection(a, b) == shared
    union = np.sum(mask(predicted) | mask(annotated))
    assert geometry.iou(a, b) == pytest.approx(shared / union, abs=1e-12)
    assert geometry.iobb(a, b) == pytest.approx(shared / mask(predicted).sum(), abs=1e-12)
    assert geometry.iogt(a, b) == pytest.approx(shared / mask(annotated).sum(), abs=1e-12)


def test_boxes_without_area_overlap_nothing():
    empty, box = np.array([3.0, 3, 0, 5]), np.array([0.0, 0, 10, 10])
    for overlap in (geometry.iou, geometry.iobb, geometry.iogt):
        assert overlap(empty, box) == overlap(box, empty) == overlap(empty, empty) == 0


def regions_by_flooding(hot):
    """Returns (x, y, w, h) and pixel count of each 8-connected region, found pixel by pixel."""
    waiting = {(int(y), int(x)) for y, x in np.argwhere(hot)}
    regions = []
    while waiting:
        region, front = set(), {min(waiting)}
        while front:
            region |= front
            near = {(y + i, x + j) for y, x in front for i in (-1, 0, 1) for j in (-1, 0, 1)}
            front = (near & waiting) - region
        waiting -= region
        ys, xs = zip(*region, strict=True)
        box = (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
        regions.append((box, len(region)))
    return regions


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.1, 0.3, 0.5]),
    st.sampled_from([0, 2, 5]),
)
@settings(max_examples=100, deadline=None)
def test_boxes_bound_the_connected_regions(seed, density, min_area):
    hot = np.random.default_rng(seed).random((12, 17)) < density
    hot[0, 0], hot[-1, -1] = True, False
    expected = [region for region in regions_by_flooding(hot) if region[1] >= min_area]
    rule = BoxRule(regions="all", min_area=min_area)
    found = geometry.heatmap_boxes(hot.astype(np.float32), 17, 12, rule=rule)
    assert {tuple(box) for box in found.boxes} == {box for box, _ in expected}
    np.testing.assert_array_equal(found.peaks, 1)
    rule = BoxRule(min_area=min_area)
    largest = geometry.heatmap_boxes(hot.astype(np.float32), 17, 12, rule=rule)
    assert len(largest.boxes) == min(1, len(expected))
    if expected:
        most = max(count for _, count in expected)
        assert tuple(largest.boxes[0]) in {box for box, count in expected if count == most}


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(2, 9))
@settings(max_examples=50, deadline=None)
def test_enlarging_is_bilinear_between_cell_centers(seed, h, w):
    heatmap = np.random.default_rng(seed).normal(size=(h, w))
    enlarged = geometry.enlarge(heatmap, width=w * 5, height=h * 8)
    expected = ndimage.zoom(heatmap, (8, 5), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(enlarged, expected, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["largest", "all"]))
@settings(max_examples=50, deadline=None)
def test_boxes_do_not_depend_on_the_scale_of_the_heat(seed, regions):
    rng = np.random.default_rng(seed)
    heatmap = rng.normal(size=(8, 8))
    rule = BoxRule(regions=regions)
    plain = geometry.heatmap_boxes(heatmap, 100, 90, rule=rule)
    scaled = geometry.heatmap_boxes(heatmap * rng.uniform(0.01, 50) - 3, 100, 90, rule=rule)
    np.testing.assert_array_equal(plain.boxes, scaled.boxes)
    np.testing.assert_allclose(plain.peaks, scaled.peaks)


def test_a_pixel_at_the_cut_is_cold():
    heatmap = np.array([[0, 180, 255, 181, 0]], np.float32)
    (box,) = geometry.heatmap_boxes(heatmap, 5, 1).boxes
    np.testing.assert_array_equal(box, [2, 0, 2, 1])


def test_a_wider_cut_contains_the_narrower_one():
    heatmap = np.array([[0, 100, 255, 100, 0, 0, 90]], np.float32)
    wide, narrow = 60 / 255, 180 / 255
    rule = BoxRule(cuts=(wide, narrow), regions="all")
    found = geometry.heatmap_boxes(heatmap, 7, 1, rule=rule)
    np.testing.assert_array_equal(found.boxes, [[1, 0, 3, 1], [6, 0, 1, 1], [2, 0, 1, 1]])
    np.testing.assert_allclose(found.peaks, [1, 90 / 255, 1])
    assert found.cuts == [wide, wide, narrow]


@pytest.mark.parametrize("scale", ["range", "peak", "probability"])
@pytest.mark.parametrize("value", [-2.5, 0, 0.5])
def test_a_constant_heat_map_points_nowhere(scale, value):
    if scale == "probability" and value < 0:
        return
    constant = np.full((8, 8), value, np.float32)
    rule = BoxRule(scale, cuts=(0, "otsu"), regions="all")
    assert geometry.heatmap_boxes(constant, 64, 64, rule=rule).boxes.shape == (0, 4)
    peak = geometry.peak_point(constant, 64, 64)
    assert np.isnan(peak).all()


def test_scales_cut_at_their_own_units():
    heatmap = np.array([[-0.2, 0.1, 0.5, 0.6, 0.3]])
    for scale, cut, expected in (
        ("range", 0.4, [1.0 * 0.7 / 0.8, 1.0, 0.5 / 0.8]),  # (heat + 0.2) / 0.8
        ("peak", 0.4, [0.5 / 0.6, 1.0, 0.3 / 0.6]),
        ("probability", 0.25, [0.5, 0.6, 0.3]),
    ):
        shown = np.maximum(heatmap, 0) if scale == "probability" else heatmap
        scaled = geometry.scale_heatmap(shown, scale)
        np.testing.assert_allclose(scaled[0, 2:], expected)
        (box,), (peak,), _ = geometry.heatmap_boxes(shown, 5, 1, rule=BoxRule(scale, (cut,)))
        np.testing.assert_array_equal(box, [2, 0, 3, 1])
        np.testing.assert_allclose(peak, max(expected))
    with pytest.raises(UserError, match=r"values from -0.2 to 0.6; the scale 'probability'"):
        geometry.scale_heatmap(heatmap, "probability")


@given(st.integers(0, 2**32 - 1), st.integers(2, 400))
@settings(max_examples=50, deadline=None)
def test_otsus_threshold_splits_the_histogram_best(seed, pixels):
    rng = np.random.default_rng(seed)
    heat = np.concatenate([rng.beta(2, 5, pixels), rng.beta(5, 2, 30)])
    counts, edges = np.histogram(heat, 256)
    centers = (edges[1:] + edges[:-1]) / 2
    variances = []
    for last in range(255):  # as the sum of squares within the two classes, in plain arithmetic
        classes = slice(0, last + 1), slice(last + 1, None)
        within = 0.0
        for chosen in classes:
            if weight := counts[chosen].sum():
                mean = (counts[chosen] * centers[chosen]).sum() / weight
                within += (counts[chosen] * (centers[chosen] - mean) ** 2).sum()
        variances.append(within)
    found = np.argmin(np.abs(centers - geometry.otsu_threshold(heat)))
    assert variances[found] == pytest.approx(min(variances), rel=1e-9)
    hot = heat > geometry.otsu_threshold(heat)
    (box,) = geometry.heatmap_boxes(
        np.sort(heat)[None], len(heat), 1, rule=BoxRule(cuts=("otsu",))
    ).boxes
    assert box[2] == pytest.approx(hot.sum(), abs=1)


def test_a_finding_may_have_its_own_cut():
    rule = BoxRule(cuts=(0.2, 0.7), by_finding={"Mass": "otsu"}, min_area=3)
    assert rule.of("Mass") == BoxRule(cuts=("otsu",), min_area=3)
    assert rule.of("Nodule") == BoxRule(cuts=(0.2, 0.7), min_area=3)


GRIDS = st.tuples(st.floats(-20, 40), st.floats(5, 40))


@given(st.integers(0, 2**32 - 1), GRIDS, GRIDS)
@settings(max_examples=50, deadline=None)
def test_cells_are_interpolated_where_they_lie(seed, columns, rows):
    heatmap = np.random.default_rng(seed).normal(size=(5, 7))
    grid = Grid(*columns), Grid(*rows)
    y, x = np.mgrid[:90, :110]
    cells = (y - rows[0]) / rows[1], (x - columns[0]) / columns[1]
    expected = ndimage.map_coordinates(heatmap, cells, order=1, mode="nearest")
    np.testing.assert_allclose(geometry.enlarge(heatmap, 110, 90, grid), expected, atol=1e-9)


@given(st.integers(0, 2**32 - 1), GRIDS, GRIDS)
@settings(max_examples=50, deadline=None)
def test_peak_is_the_hottest_place_over_the_image(seed, columns, rows):
    heatmap = np.random.default_rng(seed).normal(size=(5, 7))
    x, y = geometry.peak_point(heatmap, 110, 90, (Grid(*columns), Grid(*rows))) - 0.5
    assert 0 <= x <= 109
    assert 0 <= y <= 89

    def heat(y, x):
        cells = [(y - rows[0]) / rows[1]], [(x - columns[0]) / columns[1]]
        return ndimage.map_coordinates(heatmap, cells, order=1, mode="nearest")[0]

    pixels = geometry.enlarge(heatmap, 110, 90, (Grid(*columns), Grid(*rows)))
    assert heat(y, x) >= pixels.max() - 1e-9


def test_hot_cell_of_a_resnet_gives_the_box_around_it():
    """Heat falls linearly to 0 at the neighbors: it is above 180 within (1 - 180/255) strides."""
    heatmap = np.zeros((8, 8), np.float32)
    heatmap[3, 5] = 1  # centered on row 96, column 160 of 256
    grid = Grid(0, 32).scaled(4), Grid(0, 32).scaled(4)
    (box,) = geometry.heatmap_boxes(heatmap, 1024, 1024, grid).boxes
    reach = (1 - 180 / 255) * 128
    expected = [641.5 + 0.5 - reach, 385.5 + 0.5 - reach, 2 * reach, 2 * reach]
    np.testing.assert_allclose(box, expected, atol=1)
    np.testing.assert_allclose(geometry.peak_point(heatmap, 1024, 1024, grid), [642, 386])


def test_largest_box_need_not_have_most_pixels():
    hot = np.zeros((20, 20))
    hot[1, 1:9] = hot[1:9, 1] = 1  # 15 pixels in 8 × 8
    hot[12:16, 12:17] = 1  # 20 pixels in 5 × 4
    (box,) = geometry.heatmap_boxes(hot, 20, 20).boxes
    np.testing.assert_array_equal(box, [12, 12, 5, 4])
    (box,) = geometry.heatmap_boxes(hot, 20, 20, rule=PUBLISHED_RULE).boxes
    np.testing.assert_array_equal(box, [1, 1, 8, 8])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cuts": (-0.1,)}, "cut is -0.1; expected a number from 0 to below 1"),
        ({"cuts": (1,)}, "cut is 1;"),
        ({"by_finding": {"Mass": np.nan}}, "cut is nan;"),
        ({"cuts": ()}, "no cut is given"),
        ({"regions": "best"}, "regions is 'best'; use one of largest, largest_box, all"),
        ({"scale": "log"}, "scale is 'log'; use one of range, probability, peak"),
    ],
)
def test_invalid_rules_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        BoxRule(**wrong)
