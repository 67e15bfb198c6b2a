"""The program predict as a user runs it."""

import csv
import functools
import json
import shutil
from contextlib import closing

import numpy as np
import optax
import pytest
from PIL import Image

import jaxcxr as cxr
from jaxcxr.data.phantom import draw_radiograph
from jaxcxr.findings import FINDINGS
from jaxcxr.images.radiograph import read_radiograph
from jaxcxr.images.square import make_square
from jaxcxr.models import classifier_config
from jaxcxr.runs.checkpoints import Checkpoints
from jaxcxr.runs.workdir import claim_workdir
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History
from jaxcxr.training.state import create_state, initial_variables
from tests.programs import REPOSITORY, forked

NIH_SAMPLE = REPOSITORY / "../shared/nih_sample/images"
SIZE = 64


@pytest.fixture(scope="module")
def predict():
    modules = ("inference.prediction", "inference.gradcam", "runs.trained", "reporting.overlays")
    with forked(*modules, absent=["tensorflow"]) as launch:
        yield functools.partial(launch, "predict")


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run with one checkpoint, scored: every finding but Hernia has an operating point."""
    workdir = tmp_path_factory.mktemp("run")
    model = cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline())
    claim_workdir(workdir, {"model": classifier_config(model), "data": {"image_size": SIZE}})
    state = create_state(initial_variables(model, SIZE, seed=0), optax.identity())
    with closing(Checkpoints(workdir)) as opened:
        history = History(({"epoch": 1, "loss": 1.0, "val_loss": 1.0},))
        opened.save(Progress(state, history, 1, {}))
    evaluation = workdir / "evaluation"
    evaluation.mkdir()
    points = [f"All,All,{finding},youden,0.0" for finding in FINDINGS[:2]]
    points += [f"All,All,{finding},youden,1.0" for finding in FINDINGS[2:-1]]
    points.append("All,All,Hernia,youden,")
    (evaluation / "operating_points.csv").write_text(
        "\n".join(["group,value,finding,rule,threshold", *points, ""])
    )
    lines = [f"{finding},2.0,-1.0" for finding in FINDINGS[:-1]]
    (evaluation / "calibration.csv").write_text(
        "\n".join(["finding,slope,intercept", *lines, "Hernia,,", ""])
    )
    return workdir


@pytest.fixture
def folder(tmp_path):
    """Radiographs of several kinds, among them files that are none."""
    pixels = np.random.default_rng(0).integers(0, 256, (120, 80), np.uint8)
    for place in ("scans/a", "scans/b"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / place / "same.png")
    Image.fromarray(pixels.repeat(2, axis=1)).save(tmp_path / "scans/wide.jpg")
    (tmp_path / "scans/text.png").write_text("Patient has a cough.")
    (tmp_path / "scans/empty.dcm").write_bytes(b"")
    Image.fromarray(pixels[:1, :1]).save(tmp_path / "scans/tiny.png")
    return tmp_path


def test_what_may_be_wrong_with_a_picture_is_listed(predict, workdir, tmp_path):
    pixels = draw_radiograph(["Mass"], image_size=96, seed=0).image
    for name, changed in {"a": pixels, "b": 255 - pixels, "c": np.rot90(pixels)}.items():
        Image.fromarray(changed).save(tmp_path / f"{name}.png")
    words = [f"--workdir={workdir}", "--out=out", "--nooverlays", "a.png", "b.png", "c.png"]
    done = predict(*words, cwd=tmp_path)
    notes = {row["Image Index"]: row["notes"] for row in rows(tmp_path / "out/files.csv")}
    assert notes == {
        "a.png": "",
        "b.png": "seems inverted, bone dark and air bright",
        "c.png": "seems rotated by 90° counterclockwise",
    }
    assert f"/b.png: {notes['b.png']}\n" in done.stderr
    assert "check 2 of them: the notes in out/files.csv say what may be wrong" in done.stdout


def test_mixed_files(predict, workdir, folder, write_dicom):
    pytest.importorskip("pydicom")
    stored = np.random.default_rng(1).integers(0, 4096, (90, 90), np.uint16)
    write_dicom(stored, 12, "MONOCHROME1", name="IM1", WindowCenter=2000, WindowWidth=900)
    words = [f"--workdir={workdir}", "--out=out", "scans", "IM1", "missing.png", "--save_heatmaps"]
    done = predict(*words, "--batch_size=3", cwd=folder)
    assert done.returncode == 0, done.stderr
    out = folder / "out"

    names = ["IM1", "a/same.png", "b/same.png", "wide.jpg"]
    predictions = rows(out / "predictions.csv")
    assert list(predictions[0]) == ["Image Index", *FINDINGS]
    assert [row["Image Index"] for row in predictions] == names
    assert all(0 <= float(row[finding]) <= 1 for row in predictions for finding in FINDINGS)
    twins = [{k: v for k, v in row.items() if k != "Image Index"} for row in predictions[1:3]]
    assert twins[0] == twins[1]

    findings = rows(out / "findings.csv")
    assert len(findings) == 4 * 14
    first = dict(zip(FINDINGS, findings[:14], strict=True))
    assert first["Atelectasis"]["reaches_operating_point"] == "yes"
    assert first["Mass"]["reaches_operating_point"] == "no"
    assert first["Hernia"]["operating_point"] == first["Hernia"]["calibrated_probability"] == ""
    assert 0 < float(first["Mass"]["calibrated_probability"]) < 1

    shown = {(row["Image Index"], row["Finding Label"]): row["overlay"] for row in findings}
    expected = {(name, finding) for name in names for finding in FINDINGS[:2]}
    assert {key for key, overlay in shown.items() if overlay} == expected
    drawn = {path.relative_to(out).as_posix() for path in (out / "overlays").rglob("*.png")}
    assert drawn == {overlay for overlay in shown.values() if overlay}

    sizes = {"IM1": (90, 90), "a/same.png": (80, 120), "b/same.png": (80, 120)}
    boxes = rows(out / "boxes.csv")
    assert list(boxes[0]) == [
        "Image Index", "Finding Label", "x", "y", "w", "h", "score", "width", "height"
    ]  # fmt: skip
    assert {(box["Image Index"], box["Finding Label"]) for box in boxes} <= expected
    for box in boxes:
        width, height = sizes.get(box["Image Index"], (160, 120))
        x, y, w, h = (float(box[side]) for side in "xywh")
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
    heatmaps = np.load(out / "heatmaps/a/same.png.npz", allow_pickle=False)
    assert heatmaps["heatmaps"].shape == (8, 8, 14)
    places = {name: heatmaps[name].item() for name in heatmaps.files[2:]}
    assert places == {
        "first_center": 0, "stride": 8, "image_size": 64, "width": 80, "height": 120,
        "square": "squash",
    }  # fmt: skip
    assert tuple(heatmaps["findings"]) == FINDINGS

    assert [row["file"] for row in rows(out / "skipped.csv")] == [
        "missing.png", "scans/empty.dcm", "scans/text.png", "scans/tiny.png"
    ]  # fmt: skip
    reasons = ["no such file", "empty, 0 bytes", "expected a PNG", "1×1 pixels"]
    lines = [line for line in done.stderr.splitlines() if "skipped: " in line]
    assert all(reason in line for reason, line in zip(reasons, lines, strict=True))
    assert "4 radiographs predicted, 4 files skipped" in done.stdout
    assert "not for diagnosis" in done.stdout
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.partial*"))
    about = json.loads((out / "about.json").read_text())
    assert (about["epoch"], about["image_size"], about["square"]) == (1, SIZE, "squash")
    assert (about["synthetic"], about["warnings"]) == (False, [])
    files = {row["Image Index"]: row["file"] for row in rows(out / "files.csv")}
    assert files["a/same.png"] == str((folder / "scans/a/same.png").resolve())
    assert "synthetic" not in done.stdout + done.stderr


def test_run_on_synthetic_radiographs_is_marked(predict, workdir, folder):
    synthetic = folder / "synthetic"
    shutil.copytree(workdir, synthetic)
    (synthetic / "run.json").write_text('{"data": {"synthetic": true}}')
    image = folder / "scans/wide.jpg"
    for run, out in ((workdir, "plain"), (synthetic, "marked")):
        done = predict(f"--workdir={run}", f"--out={out}", "--findings=Mass", image, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert "warning: Trained on synthetic radiographs" in done.stdout
    about = json.loads((folder / "marked/about.json").read_text())
    assert about["synthetic"]
    assert about["warnings"][0].startswith("Trained on synthetic radiographs")
    plain, marked = (
        np.asarray(Image.open(folder / place / "overlays/wide.jpg.Mass.png"), int)
        for place in ("plain", "marked")
    )
    changed = (plain != marked).any(axis=(1, 2))
    assert changed[-10:].all()
    assert not changed[: len(changed) * 9 // 10].any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no radiographs are named"),
        (["scans", "--findings=Cough"], "--findings has 'Cough'; the findings are Atelectasis"),
        (["scans", "--stage=2"], "--stage is of Grad-CAM and LayerCAM; give --heatmap=layer_cam"),
        (["scans", "--heatmap=grad_cam", "--stage=9"], "stages 1 to 2"),
        (["scans", "--workdir=scans"], "is not the folder of a run"),
        (["scans", "--workdir=nowhere"], "nowhere does not exist; expected a run, a model folder"),
        (["scans", "--prevalence=Cough=0.1"], "--prevalence has 'Cough'; the findings are Atelec"),
        (["scans", "--prevalence=Mass"], "--prevalence has 'Mass'; expected FINDING=0.02"),
        (["scans/text.png"], "error: none of 1 files could be read"),
    ],
)
def test_mistakes_get_one_line(predict, workdir, folder, words, message):
    done = predict(f"--workdir={workdir}", "--out=out", *words, cwd=folder)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    written = {path.name for path in (folder / "out").glob("*")}
    assert written == ({"about.json", "skipped.csv"} if words == ["scans/text.png"] else set())


@pytest.mark.skipif(not NIH_SAMPLE.exists(), reason="NIH radiographs are not beside the checkout")
def test_real_radiographs(predict, workdir, tmp_path):
    paths = sorted(NIH_SAMPLE.glob("*.png"))[:3]
    options = ["--heatmap=grad_cam++", "--stage=1", "--flip", "--findings=Mass,Infiltrate"]
    done = predict(f"--workdir={workdir}", f"--out={tmp_path}", *options, *paths)
    assert done.returncode == 0, done.stderr
    assert [row["Image Index"] for row in rows(tmp_path / "predictions.csv")] == [
        path.name for path in paths
    ]
    assert len(list((tmp_path / "overlays").iterdir())) == 6


def test_second_call_continues_where_the_first_stopped(predict, workdir, folder):
    words = [f"--workdir={workdir}", "--batch_size=2"]
    assert predict(*words, "--out=once", "scans", cwd=folder).returncode == 0
    words.append("--out=twice")
    done = predict(*words, "scans/wide.jpg", "scans/a/same.png", "scans/b", cwd=folder)
    assert "3 radiographs predicted" in done.stdout
    for name in ("predictions.csv", "findings.csv", "boxes.csv", "files.csv"):
        path = folder / "twice" / name  # as if a batch that followed had been interrupted
        path.write_text(path.read_text() + "b/sa")
    about = folder / "twice/about.json"
    content = json.loads(about.read_text())
    before = (folder / "twice/predictions.csv").read_bytes()
    for _ in range(2):
        done = predict(*words, "scans", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "3 of 6 files were predicted by an earlier call" in done.stdout
        assert "0 radiographs predicted, 3 files skipped" in done.stdout
    assert before == (folder / "twice/predictions.csv").read_bytes() + b"b/sa"
    assert json.loads(about.read_text()) == content
    for name in ("predictions.csv", "findings.csv", "boxes.csv", "files.csv", "skipped.csv"):
        once, twice = (rows(folder / out / name) for out in ("once", "twice"))
        assert once == twice


def test_interrupted_call_is_completed(predict, workdir, folder):
    words = [f"--workdir={workdir}", "--batch_size=1", "--nooverlays"]
    assert predict(*words, "--out=once", "scans", cwd=folder).returncode == 0
    assert predict(*words, "--out=twice", "scans/a/same.png", "scans/b", cwd=folder).returncode == 0
    about = folder / "twice/about.json"
    content = json.loads(about.read_text())
    tables = [*content["written"]]
    for name in tables:  # as after the first of two batches
        text = (folder / "twice" / name).read_text()
        lines = [line for line in text.splitlines(True) if not line.startswith("b/")]
        content["written"][name] = len("".join(lines).encode())
    about.write_text(json.dumps(content))
    assert "2 radiographs predicted" in predict(*words, "--out=twice", "scans", cwd=folder).stdout
    for name in tables:
        once, twice = ((folder / out / name).read_bytes() for out in ("once", "twice"))
        assert once == twice
    assert not (folder / "twice/overlays").exists()


def test_other_model_settings_and_files_of_one_name_do_not_mix(predict, workdir, folder):
    words = ["--out=out", "scans/a/same.png"]
    run = f"--workdir={workdir}"
    assert predict(run, *words, cwd=folder).returncode == 0
    before = {path: path.read_bytes() for path in (folder / "out").glob("*.*")}
    other = folder / "other"
    shutil.copytree(workdir, other)
    table = other / "evaluation/operating_points.csv"
    table.write_text(table.read_text().replace("Mass,youden,1.0", "Mass,youden,0.5"))
    for wrong, message in (
        ([f"--workdir={other}", *words], "other settings: sha256 was"),
        ([run, "--findings=Mass", *words], "shown was [], and is ['Mass'] now; name another --out"),
        ([run, "--out=out", "scans/b/same.png"], "of another file named same.png; name another"),
    ):
        done = predict(*wrong, cwd=folder)
        assert done.returncode == 1
        assert message in done.stderr
        assert before == {path: path.read_bytes() for path in (folder / "out").glob("*.*")}


def test_tables_of_others_are_not_touched(predict, workdir, folder):
    theirs = folder / "out" / "predictions.csv"
    theirs.parent.mkdir()
    theirs.write_text("theirs")
    done = predict(f"--workdir={workdir}", "--out=out", "scans/wide.jpg", cwd=folder)
    assert done.returncode == 1
    assert "predictions.csv was not written by jaxcxr predict; name another" in done.stderr
    assert theirs.read_text() == "theirs"


def test_a_name_too_long_for_its_overlay(predict, workdir, folder):
    path = folder / ("n" * 225 + ".png")
    (folder / "scans/a/same.png").rename(path)
    done = predict(f"--workdir={workdir}", "--out=out", "--findings=Mass", path, cwd=folder)
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in rows(folder / "out/findings.csv") if row["overlay"]]
    assert row["Image Index"] == path.name
    assert (folder / "out" / row["overlay"]).is_file()


def test_a_network_of_other_findings_predicts_them_by_name(predict, tmp_path, folder):
    model = cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline(num_classes=4))
    names = ("Lung Opacity", None, "Pleural Effusion", "Fracture")
    trained = cxr.Predictor(model, initial_variables(model, SIZE, seed=0), SIZE, findings=names)
    trained.save(tmp_path / "model")
    words = [f"--model={tmp_path / 'model'}", "--findings=lung opacity,Effusion", "--save_heatmaps"]
    image = folder / "scans/wide.jpg"
    done = predict(*words, "--heatmap=grad_cam", f"--out={tmp_path / 'out'}", image)
    assert done.returncode == 0, done.stderr
    (row,) = rows(tmp_path / "out/predictions.csv")
    named = ["Lung Opacity", "Pleural Effusion", "Fracture"]
    assert list(row) == ["Image Index", *named]
    pixels = make_square(read_radiograph(image).pixels, SIZE, "squash")[0][None, ..., None]
    logits = model.apply(trained.variables, model.normalize(pixels)).logits[0]
    expected = 1 / (1 + np.exp(-np.asarray(logits, float)[[0, 2, 3]]))
    np.testing.assert_allclose([float(row[name]) for name in named], expected, rtol=1e-5)
    shown = [row["Finding Label"] for row in rows(tmp_path / "out/findings.csv") if row["overlay"]]
    assert shown == ["Lung Opacity", "Pleural Effusion"]
    assert np.load(tmp_path / "out/heatmaps/wide.jpg.npz")["heatmaps"].shape[-1] == 3


def test_prevalence_adjusts_the_calibrated_odds(predict, workdir, folder):
    shutil.copytree(workdir, folder / "run")
    path = folder / "run/evaluation/calibration.csv"
    header, *lines = path.read_text().splitlines()
    words = ["--model=run", "--out=out", "scans/wide.jpg"]
    done = predict(*words, "--prevalence=Effusion=0.01", cwd=folder)
    assert done.returncode == 1
    assert "Effusion has no calibration with a known prevalence" in done.stderr
    assert "(--prevalence)" in done.stderr
    counted = [f"{header},positives,radiographs", *(f"{line},20,100" for line in lines), ""]
    path.write_text("\n".join(counted))
    odds = {}
    for prevalence in ("", "--prevalence=pleural effusion=0.01"):
        out = f"out{len(prevalence)}"
        done = predict(*words, f"--out={out}", *filter(None, [prevalence]), cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "calibration: validation split of the training data" in done.stdout
        for row in rows(folder / out / "findings.csv")[:3]:
            p = float(row["calibrated_probability"])
            odds.setdefault(row["Finding Label"], []).append(p / (1 - p))
    assert odds["Effusion"][1] / odds["Effusion"][0] == pytest.approx((0.01 / 0.99) / (0.2 / 0.8))
    assert odds["Cardiomegaly"][1] == odds["Cardiomegaly"][0]
    assert json.loads((folder / out / "about.json").read_text())["prevalence"] == {"Effusion": 0.01}
