import base64
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcxr.evaluation.calibration import reliability
from jaxcxr.reporting import figures, overlays
from jaxcxr.reporting.figures import figure_uri, photograph_uri

NO_BOXES = np.zeros((0, 4))
BLACK = np.zeros((64, 64), np.uint8)


def span(picture, color):
    """Returns left, top, right, bottom (exclusive) of the pixels of one color."""
    rows, columns = np.nonzero((picture == color).all(axis=-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([(256, 256), (1024, 1024), (512, 1024), (2000, 800)]),
    st.floats(0, 0.6), st.floats(0, 0.6), st.floats(0.1, 0.4), st.floats(0.1, 0.4),
)  # fmt: skip
def test_boxes_lie_where_the_original_has_them(png_size, x, y, w, h):
    width, height = png_size
    box = np.array([[x * width, y * height, w * width, h * height]])
    expected = np.array([x, y, x + w, y + h]) * 256
    drawn = overlays.overlay(BLACK, None, box, NO_BOXES, png_size)
    np.testing.assert_allclose(span(drawn, overlays.ANNOTATED), expected, atol=1.01)
    drawn = overlays.overlay(BLACK, None, NO_BOXES, box, png_size)
    np.testing.assert_allclose(span(drawn, overlays.PREDICTED), expected, atol=2.01)


def test_heat_lies_where_the_network_saw_it():
    heat = np.zeros((8, 8))
    heat[1, 6] = 3
    picture = overlays.overlay(BLACK, heat, NO_BOXES, NO_BOXES, (64, 64))
    row, column = np.unravel_index(picture.sum(axis=-1).argmax(), picture.shape[:2])
    assert row // 32 == 1
    assert column // 32 == 6


def test_cold_places_stay_clear():
    radiograph = np.arange(256, dtype=np.uint8).repeat(256).reshape(256, 256)
    gray = np.repeat(radiograph[..., None], 3, axis=2)
    for heat in (None, np.ones((8, 8))):
        picture = overlays.overlay(radiograph, heat, NO_BOXES, NO_BOXES, (256, 256))
        np.testing.assert_array_equal(picture, gray)
    picture = overlays.overlay(np.zeros((300, 500), np.uint8), None, NO_BOXES, NO_BOXES, (500, 300))
    assert picture.shape == (300, 500, 3)


def test_every_finding_has_its_roc_curve():
    curve = (np.array([0, 0.2, 1]), np.array([0, 0.7, 1]))
    names = ["Mass", "Nodule", "Edema", "Hernia", "Fibrosis", "Effusion"]
    figure = figures.roc_figure(dict.fromkeys(names, curve))
    drawn = [panel for panel in figure.axes if panel.axison]
    assert [panel.get_title() for panel in drawn] == names
    for panel in drawn:
        np.testing.assert_array_equal(panel.lines[1].get_xydata(), np.transpose(curve))
        assert panel.texts[0].get_text() == "AUC 0.750"
    assert figure_uri(figures.roc_figure({}))


def test_runs_keep_their_colors():
    curve, none = (np.array([0, 1]), np.array([0, 1])), (np.empty(0), np.empty(0))
    panel = figures.roc_panel([none, curve]).axes[0]
    assert panel.lines[2].get_color() == figures.run_color(1)
    history = pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.0]})
    axes = figures.learning_curves({"a": pd.DataFrame(), "b": history}).axes[0]
    assert axes.lines[0].get_color() == figures.run_color(1)
    nothing = reliability(np.empty(0), np.empty(0))
    points = reliability(np.array([0, 1]), np.array([0.1, 0.9]))
    axes = figures.reliability_diagram({"a": nothing, "b": points}).axes[0]
    assert axes.lines[1].get_color() == figures.run_color(1)
    assert len({figures.run_color(index) for index in range(7)}) == 7
    assert figures.run_color(7) == figures.run_color(0)


def test_learning_curves_show_both_losses():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.0], "val_loss": [4.0, np.nan]})
    axes = figures.learning_curves({"a": history}).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), history["loss"])
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), history["val_loss"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "a", "training", "validation",
    ]  # fmt: skip


def test_equal_figures_give_equal_text():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.0]})
    first, second = (figure_uri(figures.learning_curves({"a": history})) for _ in range(2))
    assert first == second
    assert first.startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize("value", [0, 128, 255])
def test_photographs_keep_their_colors(value):
    pixels = np.full((16, 16, 3), (value, 40, 220), np.uint8)
    kind, _, text = photograph_uri(pixels).partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), int)
    assert abs(shown - pixels).max() <= 4


def test_cut_curves_are_the_mean_rows(three_runs):
    cuts = {run: pd.read_csv(run / "evaluation/localization_cuts.csv") for run in three_runs}
    empty = {"not scored": pd.DataFrame()}
    panels = figures.cut_curves({**empty, **{str(run): table for run, table in cuts.items()}}).axes
    for panel, level in zip(panels, ("IoU > 0.1", "IoU > 0.3", "IoU > 0.5"), strict=True):
        _, *curves = panel.lines  # the first is the paper's cut
        for index, (curve, table) in enumerate(zip(curves, cuts.values(), strict=True), start=1):
            means = table[(table["finding"] == "Mean") & (table["cut"] != "otsu")]
            np.testing.assert_array_equal(curve.get_xdata(), [0.5, 180 / 255])
            np.testing.assert_array_equal(curve.get_ydata(), means[level])
            assert curve.get_color() == figures.run_color(index)
