"""Model folders as users make and use them: export, calibrate, predict and evaluate."""

import json
import shutil
import subprocess
import sys

import huggingface_hub
import numpy as np
import optax
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

import jaxcxr as cxr
from jaxcxr.evaluation.own_labels import fitting_half
from jaxcxr.training.state import initial_variables
from tests.programs import forked, launch
from tests.tiny import tiny_study

SIZE = 64
NAMES = ("Lung Opacity", "Pleural Effusion", None, "Mass")
NETWORK = cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline(num_classes=4))
FULL_AT_THE_LAST_FILE = """
import errno
from pathlib import Path
from jaxcxr.cli import program

write = Path.write_text

def write_until_full(path, *words, **named):
    if "README" in path.name:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
    return write(path, *words, **named)

Path.write_text = write_until_full
program.run_verb("calibrate")
"""


@pytest.fixture(scope="module")
def start():
    with forked("inference.prediction", "runs.trained", "evaluation.own_labels") as forks:
        yield forks


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A prepared phantom, its config and a run of one epoch that is scored."""
    place = tmp_path_factory.mktemp("study")
    tiny_study(place)
    config = f"--config={place / 'tiny.py'}"
    flags = ["--config.epochs=1", f"--data_dir={place}", f"--workdir={place / 'run'}"]
    done = launch("train", config, *flags)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def folder(tmp_path):
    variables = initial_variables(NETWORK, SIZE, seed=0)
    trained = cxr.Predictor(NETWORK, variables, SIZE, findings=NAMES, training_data="phantom")
    trained.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def scans(tmp_path):
    """80 radiographs of 40 patients; the brighter one of a patient has an effusion."""
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    labels = []
    for number in range(80):
        pixels = rng.integers(0, 100, (SIZE, SIZE)) + 60 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"scans/{number}.png")
        noisy = rng.random() < 0.3
        labels.append((f"{number}.png", f"P{number // 2}", int(number % 2 == 1) ^ noisy, "x"))
    table = pd.DataFrame(labels, columns=["Image Index", "Patient ID", "effusion", "Comment"])
    table.to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path / "scans"


def test_exported_run_predicts_and_scores_the_same_bits(study, tmp_path):
    run, data_dir, model = study / "run", f"--data_dir={study}", tmp_path / "model"
    quick = ["--bootstraps=10", "--batch_size=16"]
    done = launch("evaluate_auc", f"--model={run}", data_dir, *quick)
    assert done.returncode == 0, done.stderr
    words = ["--format=folder", f"--out={model}", "--license=MIT"]
    done = launch("export", f"--model={run}", *words)
    assert done.returncode == 0, done.stderr
    names = {"README.md", "auc.csv", "calibration.csv", "config.json", "model.safetensors"}
    assert {path.name for path in model.iterdir()} == names | {"operating_points.csv"}
    card = (model / "README.md").read_text()
    for text in ("license: mit", "library_name: jaxcxr", "synthetic radiographs", "| Mean |"):
        assert text in card
    image = study / "release/images"
    image = next(image.glob("*.png"))
    ours, theirs = cxr.load_model(run), cxr.load_model(model)
    first, second = ours.predict(image), theirs.predict(image)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.heatmaps, second.heatmaps)
    pd.testing.assert_frame_equal(first.table(), second.table())
    done = launch("evaluate_auc", f"--model={model}", data_dir, *quick)
    assert done.returncode == 0, done.stderr
    for name in ("predictions.csv", "auc.csv", "calibration.csv"):
        written = [(place / "evaluation" / name).read_bytes() for place in (run, model)]
        assert written[0] == written[1]


def test_evaluation_maps_other_findings_to_the_14_by_name(study, folder):
    flags = [f"--model={folder}", f"--data_dir={study}"]
    done = launch("evaluate_auc", *flags, "--bootstraps=10")
    assert done.returncode == 0, done.stderr
    assert "not scored, no counterpart among the 14 findings: Lung Opacity\n" in done.stdout
    assert "not scored, no output of the model: Atelectasis, Cardiomegaly, Inf" in done.stdout
    table = pd.read_csv(folder / "evaluation/auc.csv").set_index("finding")
    known = table["auc"].dropna()
    assert set(known.index) <= {"Effusion", "Mass", "Mean"}
    assert known["Mean"] == pytest.approx(known.drop("Mean").mean())
    predictions = pd.read_csv(folder / "evaluation/predictions.csv")
    assert list(predictions) == ["Image Index", "Effusion", "Mass"]
    images = next((study / "release").rglob(predictions["Image Index"][0]))
    probabilities = cxr.load_model(folder).predict(images).probabilities
    np.testing.assert_allclose(predictions.iloc[0, 1:].astype(float), probabilities[1:], rtol=1e-5)
    done = launch("evaluate_boxes", *flags, "--bootstraps=10")
    assert done.returncode == 0, done.stderr
    boxes = pd.read_csv(folder / "evaluation/annotated_boxes.csv")
    assert set(boxes["Finding Label"]) <= {"Effusion", "Mass"}


def test_evaluation_names_the_dataset_that_a_model_folder_needs(start, study, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"image_size": 48, "square": "pad"}))
    done = start("evaluate_auc", f"--model={folder}", f"--data_dir={study}")
    assert done.returncode == 1
    assert "prepare one" in done.stderr
    assert "image_size=48" in done.stderr
    assert "square=pad" in done.stderr


def test_evaluation_takes_the_only_dataset_and_names_its_size(start, study, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"image_size": 256}))
    done = start("evaluate_auc", f"--model={folder}", f"--data_dir={study}", "--bootstraps=10")
    assert done.returncode == 0, done.stderr
    assert f"takes radiographs of 256 pixels, the dataset has {SIZE}" in done.stdout


def test_calibration_is_fitted_on_half_of_the_patients(start, folder, scans, tmp_path):
    words = [f"--model={folder}", f"--labels={tmp_path / 'labels.csv'}", "--bootstraps=50"]
    shutil.copy(scans / "0.png", scans / "unlabeled.png")
    done = start("calibrate", *words, scans)
    assert done.returncode == 0, done.stderr
    for text in (
        "columns that are not used: Comment",
        "80 labeled radiographs; 1 files without labels and 0 labels without a file",
        "no calibration, one class only or no labels: Lung Opacity, Mass",
        "labels.csv, 80 radiographs of 40 patients",
    ):
        assert text in done.stdout

    labels = pd.read_csv(tmp_path / "labels.csv")
    before = cxr.Predictor(NETWORK, cxr.load_model(folder).variables, SIZE, findings=NAMES)
    raw = [before.predict(scans / name).probabilities[1] for name in labels["Image Index"]]
    half = fitting_half(labels["Patient ID"].to_numpy(str), 0)
    table = pd.read_csv(folder / "calibration.csv").set_index("finding").loc["Pleural Effusion"]
    assert (table["positives"], table["radiographs"]) == (labels["effusion"][half].sum(), 40)
    logits = np.log(np.array(raw, float) / (1 - np.array(raw, float)))[:, None]
    bounded = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[half], labels["effusion"][half])
    slope = bounded.coef_[0, 0]
    assert 0.05 < slope < 20
    assert table["slope"] == pytest.approx(slope, rel=1e-2)
    report = pd.read_csv(folder / "own_labels.csv").set_index("finding").loc["Pleural Effusion"]
    assert report["radiographs"] == 40
    assert report["auc_low"] < report["auc"] < report["auc_high"]
    assert report["sensitivity_low"] <= report["sensitivity"] <= report["sensitivity_high"]

    done = start("predict", f"--model={folder}", f"--out={tmp_path / 'out'}", scans / "1.png")
    assert done.returncode == 0, done.stderr
    assert "operating points and calibration: labels.csv, 80 radiographs" in done.stdout
    rows = pd.read_csv(tmp_path / "out/findings.csv").set_index("Finding Label")
    expected = bounded.predict_proba(logits[1:2])[0, 1]
    assert rows.loc["Pleural Effusion", "calibrated_probability"] == pytest.approx(expected, 1e-2)
    assert rows.loc[["Mass", "Lung Opacity"], "calibrated_probability"].isna().all()
    assert "labels.csv, 80 radiographs" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.png,P1,2", "line 2: effusion is '2'; expected 0, 1"),
        ("0.png,P1,no!", "line 2: effusion is 'no!'; expected 0, 1"),
        ("other.png,P1,1", "expected labeled radiographs of two patients or more"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(start, folder, scans, tmp_path, line, message):
    (tmp_path / "labels.csv").write_text(f"Image Index,Patient ID,effusion\n{line}\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    words = [f"--model={folder}", f"--labels={tmp_path / 'labels.csv'}", scans / "0.png"]
    done = start("calibrate", *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_calibration_that_cannot_be_written_leaves_the_folder(folder, scans, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    words = [f"--model={folder}", f"--labels={tmp_path / 'labels.csv'}", "--bootstraps=10", scans]
    command = [sys.executable, "-c", FULL_AT_THE_LAST_FILE, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def snapshot(monkeypatch, folder):
    """Stands for the hub: one repository, at one revision."""

    def download(repository, revision=None):
        if (repository, revision) != ("owner/name", "abc"):
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


def test_a_model_of_the_hub_is_loaded_and_never_written_to(start, folder, monkeypatch, scans):
    snapshot(monkeypatch, folder)
    model = cxr.load_model("hf:owner/name@abc")
    assert model.named_findings == ("Lung Opacity", "Pleural Effusion", "Mass")
    with pytest.raises(cxr.UserError, match="cannot be downloaded: the hub cannot be reached"):
        cxr.load_model("hf:owner/other")
    labels = scans.parent / "labels.csv"
    done = start("calibrate", "--model=hf:owner/name", f"--labels={labels}", scans)
    assert done.returncode == 1
    assert "hf:owner/name was downloaded: write it to a folder of your own" in done.stderr
    done = start("evaluate_auc", "--model=hf:owner/name", "--data_dir=nowhere")
    assert done.returncode == 1
    assert "name a folder for the scores (--out)" in done.stderr


def test_model_and_prediction_describe_themselves(folder, scans):
    model = cxr.load_model(folder)
    assert repr(model) == f"Predictor(ResNet18, Baseline, 3 findings, 64 pixels, {folder})"
    prediction = model.predict(scans / "0.png")
    assert prediction.findings == ("Lung Opacity", "Pleural Effusion", "Mass")
    assert repr(prediction).startswith("PredictionResult(0.png: ")
    html = prediction._repr_html_()
    assert "not a medical device" in html
    assert "Pleural Effusion" in html
    assert "data:image/png;base64," in html


def test_training_starts_from_a_model_folder_and_from_the_hub(folder, monkeypatch):
    snapshot(monkeypatch, folder)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, SIZE, SIZE, 1), np.uint8)
    data = cxr.ArraySplit(images, rng.integers(0, 2, (8, 4)).astype(np.uint8))
    settings = {"epochs": 1, "batch_size": 8, "optimizer": optax.sgd(0.0)}
    trained = cxr.load_model(folder).variables["params"]
    for source in (folder, "hf:owner/name@abc"):
        run = cxr.fit(NETWORK, data, initial_weights=source, **settings)
        kernel = run.variables["params"]["head"]["classifier"]["kernel"]
        np.testing.assert_array_equal(kernel, trained["head"]["classifier"]["kernel"])
