"""Files through a network, with a network whose answers are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import BoxRule
from jaxcxr.findings import FINDINGS
from jaxcxr.images.grid import PIXELS, tiles
from jaxcxr.images.radiograph import Radiograph
from jaxcxr.images.square import Square
from jaxcxr.inference.finding_table import finding_table, prediction_table, summary_text
from jaxcxr.inference.heatmaps import HeatMaps
from jaxcxr.inference.operating_points import OperatingPoints, read_operating_points
from jaxcxr.inference.prediction import (
    PredictionResult,
    in_threads,
    predict_files,
    unique_names,
)

SIZE = 64
NONE = OperatingPoints(*np.full((3, 14), np.nan))


def network(images):
    """Predicts the mean brightness for every finding but Hernia; the heat is the brightness."""
    assert images.shape == (2, SIZE, SIZE, 1)
    probabilities = np.repeat(images.mean((1, 2)) / 255, 14, axis=1).astype(np.float32)
    probabilities[:, -1] = 0.999
    return probabilities, HeatMaps(np.repeat(images.astype(np.float32), 14, axis=3), PIXELS)


def predicted(paths, square="squash"):
    refused = []

    def refuse(*arguments):
        refused.append(arguments)

    done = predict_files(network, SIZE, square, paths, batch_size=2, refuse=refuse)
    return list(done), refused


@pytest.fixture
def paths(tmp_path):
    """Five radiographs of rising brightness, with two files between them that are none."""
    paths = []
    for index in range(5):
        pixels = np.full((100, 200 if index == 3 else 100), 40 * index, np.uint8)
        pixels[60:80, 10:30] = 255
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(paths[-1])
    for place in (1, 4):
        paths.insert(place, tmp_path / f"bad{place}.png")
        paths[place].write_bytes(b"no radiograph")
    return paths


def test_bad_files_do_not_shift_the_others(paths):
    done, refused = predicted(paths)
    assert [one.name for one in done] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert [path for path, _ in refused] == [str(paths[1]), str(paths[4])]
    assert all(reason.startswith("it begins with") for _, reason in refused)
    for index, one in enumerate(done):
        expected = np.asarray(Image.open(one.radiograph.path).convert("L")).mean() / 255
        assert one.probabilities[0] == pytest.approx(expected, abs=0.01)
        assert one.radiograph.pixels[0, 0] == 40 * index


@pytest.mark.parametrize("square", ["squash", "pad"])
def test_boxes_lie_in_the_original(paths, square):
    done, _ = predicted(paths, square)
    for one in done:
        boxes = one.boxes(["Mass", "Hernia"])
        columns = ["image_name", "finding", *"xywh", "score", "width", "height"]
        assert list(boxes.columns) == columns
        assert list(boxes["finding"]) == ["Mass", "Hernia"]
        assert set(boxes["image_name"]) == {one.name}
        np.testing.assert_allclose(boxes[list("xywh")], [[10, 60, 20, 20]] * 2, atol=2)
        np.testing.assert_allclose(boxes["score"], [one.probabilities[4], 0.999], rtol=0.01)


def test_cooler_regions_score_less(tmp_path):
    pixels = np.zeros((64, 64), np.uint8)
    pixels[8:24, 8:24] = 250
    pixels[40:56, 40:56] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    ((one,), _) = predicted([tmp_path / "a.png"])
    scores = one.boxes(["Hernia"], BoxRule(regions="all"))["score"]
    np.testing.assert_allclose(scores, [0.999, 0.999 * 200 / 250])


def test_heat_beside_the_padded_radiograph_does_not_count():
    heatmaps = np.zeros((8, 8, 14))
    heatmaps[0, 0] = 100  # over the black above the radiograph
    heatmaps[4, 6, -1] = 1
    radiograph = Radiograph(Path("a.png"), "PNG", np.zeros((100, 200), np.uint8))
    square = Square.fit(200, 100, 64, "pad")
    one = PredictionResult("a", radiograph, square, np.ones(14), heatmaps, tiles(64, 8))
    assert one.boxes(["Mass"]).empty
    boxes = one.boxes(["Hernia"])
    # Cells are 25 pixels wide and high; row 4 is the third below the radiograph's upper edge.
    reach = 25 * (1 - 180 / 255)
    expected = [162.5 - reach, 62.5 - reach, 2 * reach, 2 * reach]
    np.testing.assert_allclose(boxes[list("xywh")], [expected], atol=1)


def test_notable_findings(paths):
    one = predicted(paths)[0][0]
    thresholds = np.full(14, 0.9995)
    assert one.notable_findings(thresholds) == ["Hernia"]
    assert one.notable_findings(np.full(14, np.nan)) == ["Hernia"]
    thresholds[[2, 5]] = one.probabilities[[2, 5]]
    assert one.notable_findings(thresholds) == ["Effusion", "Nodule"]


def test_results_come_in_order_and_the_next_ones_wait_within_bounds():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    for used, square in enumerate(in_threads(lambda number: number**2, items(), ahead=3)):
        assert square == used**2
        assert len(taken) <= used + 4
    assert used == 19


def test_failure_in_a_thread_ends_the_loop():
    def fail(number):
        raise UserError(f"item {number}")

    with pytest.raises(UserError, match="item 0"):
        list(in_threads(fail, range(5), ahead=2))


def test_names_that_are_no_text():
    _, ((path, reason),) = predicted([Path("\udcff.png")])
    assert (path, reason) == ("\\udcff.png", "no such file")


def test_no_radiograph_at_all(paths):
    done, refused = predicted(paths[1:2])
    assert (done, len(refused)) == ([], 1)


def test_tables(paths):
    done, _ = predicted(paths)
    points = OperatingPoints(np.full(14, 0.5), np.full(14, 0.5), np.full(14, -1.0))
    points.thresholds[3] = points.slopes[3] = np.nan
    parts = [finding_table(one, points, {"Hernia": f"{one.name}.png"}) for one in done]
    findings = pd.concat(parts, ignore_index=True)
    assert findings.shape == (5 * 14, 7)
    row = findings.iloc[13]
    assert row["Finding Label"] == "Hernia"
    assert row["reaches_operating_point"] == "yes"
    # sigmoid(logit(p) / 2 - 1)
    expected = 1 / (1 + (0.001 / 0.999) ** 0.5 * np.e)
    assert row["calibrated_probability"] == pytest.approx(expected, rel=1e-4)
    assert row["overlay"] == "0.png.png"
    assert findings.iloc[0]["reaches_operating_point"] == "no"
    assert findings.iloc[3].isna().sum() == 4
    predictions = prediction_table(findings)
    assert list(predictions.columns) == ["Image Index", *FINDINGS]
    np.testing.assert_allclose(predictions[list(FINDINGS)], [one.probabilities for one in done])
    assert list(predictions["Image Index"]) == [one.name for one in done]
    shown = findings.loc[findings["overlay"].notna()]
    lines = summary_text(shown.head(3), len(shown)).splitlines()
    assert len(lines) == 5
    assert lines[1].split() == ["0.png", "Hernia", "0.999", "0.500", "0.921"]
    assert lines[-1] == "… and 2 more in findings.csv"


def test_tables_of_a_run_without_evaluation(paths):
    done, _ = predicted(paths[:1])
    findings = finding_table(done[0], NONE, {"Hernia": "overlay.png"})
    columns = ["operating_point", "reaches_operating_point", "calibrated_probability"]
    assert findings[columns].isna().all().all()
    shown = findings.loc[findings["overlay"].notna()]
    assert summary_text(shown, 1).splitlines()[1].split() == ["0.png", "Hernia", "0.999", "–", "–"]


def test_operating_points_of_a_run(tmp_path):
    missing = read_operating_points(tmp_path)
    assert np.isnan(missing.thresholds).all()
    assert np.isnan(missing.calibrate(np.full(14, 0.5))).all()
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    points_of = {"Hernia": 0.25, "Mass": "", "Nodule": "inf"}
    (evaluation / "operating_points.csv").write_text(
        "group,value,finding,rule,threshold,sensitivity\n"
        "All,All,Hernia,specificity 0.9,0.75,1\n"
        "View Position,PA,Mass,youden,0.5,1\n"
        + "".join(f"All,All,{name},youden,{points_of.get(name, 0.5)},1\n" for name in FINDINGS)
    )
    (evaluation / "calibration.csv").write_text(
        "finding,slope,intercept\n" + "".join(f"{name},2.5,-1\n" for name in FINDINGS) + "Mean,,\n"
    )
    points = read_operating_points(tmp_path)
    assert points.thresholds[-1] == 0.25
    assert dict(zip(FINDINGS, points.thresholds, strict=True))["Nodule"] == np.inf
    assert np.isnan(points.thresholds).sum() == 1
    assert (points.slopes[-1], points.intercepts[-1]) == (2.5, -1)


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("operating_points.csv", "group,rule,finding,threshold", "All,youden,{},0.5"),
        ("calibration.csv", "intercept,finding,slope", "0,{},0.5"),
    ],
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("finding", "findings"),
        ("Mass,", "Mess,"),
        ("Mass,", "Hernia,"),
        ("Mass,0.5", "Mass,high"),
        ("Mass,0.5", "Mass,0.5,0.5"),
        ("Hernia,0.5\n", "Hernia,0."),
    ],
)
def test_damaged_operating_points_are_refused(tmp_path, name, header, row, old, new):
    path = tmp_path / "evaluation" / name
    path.parent.mkdir()
    whole = "\n".join([header, *map(row.format, FINDINGS), ""])
    path.write_text(whole)
    read_operating_points(tmp_path)
    path.write_text(whole.replace(old, new))
    with pytest.raises(UserError, match=r"run evaluate_auc again$") as caught:
        read_operating_points(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.png", "b/y.png"], ["x.png", "y.png"]),
        (["a/x.png", "b/x.png", "c/y.png"], ["a/x.png", "b/x.png", "y.png"]),
        (["x.png", "b/x.png"], ["x.png", "b/x.png"]),
        (["/d/a/x.png", "/d/a/b/c/x.png"], ["x.png", "b/c/x.png"]),
        (["../x.png", "x.png"], ["x.png", "q/x.png"]),
        (["a/\udcff.png"], ["\\udcff.png"]),
        ([], []),
    ],
)
def test_unique_names(paths, names, tmp_path, monkeypatch):
    (tmp_path / "q").mkdir()
    monkeypatch.chdir(tmp_path / "q")
    assert unique_names([Path(path) for path in paths]) == names
