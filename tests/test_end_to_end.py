"""Every program of the command contract, run as a user runs it, on a tiny phantom."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.findings import BOXED_FINDINGS, FINDINGS

REPOSITORY = Path(__file__).parents[1]

TINY_CONFIG = """
from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    config = default_config()
    config.model.backbone = {"name": "ResNet18", "width": 4, "blocks": (1, 1, 1)}
    config.initial_weights = "random"
    config.data.image_size = 64
    config.batch_size = 16
    config.epochs = 2
    return config
"""


def launch(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, f"launch/{program}.py", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The folder of a complete study: release, dataset, run, report, predictions."""
    root = tmp_path_factory.mktemp("study")
    config = root / "tiny.py"
    config.write_text(TINY_CONFIG)
    data_dir, workdir = f"--data_dir={root / 'datasets'}", f"--workdir={root / 'run'}"
    release = root / "release"
    launch("make_phantom", f"--out={release}", "--images=120", "--image_size=64", "--seed=3")
    launch("prepare", f"--release={release}", data_dir, "--image_size=64")
    launch("train", f"--config={config}", data_dir, workdir)
    launch("evaluate_auc", workdir, data_dir)
    launch("make_phantom", f"--out={root / 'other'}", "--images=60", "--image_size=64", "--seed=4")
    other = f"--data_dir={root / 'other_datasets'}"
    launch("prepare", f"--release={root / 'other'}", other, "--image_size=64")
    launch("tune_boxes", workdir, other)
    launch("evaluate_boxes", workdir, data_dir, "--bootstraps=100")
    launch("report", f"--workdirs={root / 'run'}", f"--out={root / 'report.html'}")
    images = sorted((release / "images").iterdir())[:2]
    launch("predict", workdir, f"--out={root / 'predicted'}", *map(str, images))
    return root


def test_run_folder_is_complete(study):
    run = study / "run"
    history = rows(run / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert all(float(row["val_loss"]) > 0 for row in history)
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["backbone"]["name"] == "ResNet18"
    assert list((run / "tensorboard").glob("events.*"))
    facts = json.loads((run / "run.json").read_text())
    assert facts["packages"]["jax"]
    assert facts["data"]["synthetic"] is True
    assert facts["parameters"] > 1000


def test_every_test_image_is_scored(study):
    listed = (study / "release" / "test_list.txt").read_text().split()
    predictions = rows(study / "run" / "evaluation" / "predictions.csv")
    assert sorted(row["Image Index"] for row in predictions) == sorted(listed)
    assert all(0 <= float(row[finding]) <= 1 for row in predictions for finding in FINDINGS)
    scores = rows(study / "run" / "evaluation" / "auc.csv")
    assert [row["finding"] for row in scores] == [*FINDINGS, "Mean"]
    assert (study / "run" / "evaluation" / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_aucs_match_scikit_learn(study):
    from sklearn.metrics import roc_auc_score

    evaluation = study / "run" / "evaluation"
    truth = {row["Image Index"]: row for row in rows(evaluation / "labels.csv")}
    predictions = rows(evaluation / "predictions.csv")
    for score in rows(evaluation / "auc.csv")[:-1]:
        finding = score["finding"]
        labels = [int(truth[row["Image Index"]][finding]) for row in predictions]
        if len(set(labels)) == 2:
            expected = roc_auc_score(labels, [float(row[finding]) for row in predictions])
            np.testing.assert_allclose(float(score["auc"]), expected, atol=1e-6)


def test_every_annotated_box_is_a_case(study):
    lines = (study / "release" / "BBox_List_2017.csv").read_text().splitlines()[1:]
    localization = rows(study / "run" / "evaluation" / "localization.csv")
    counted = {
        row["finding"]: int(row["boxes"])
        for row in localization
        if row["metric"] == "IoU" and float(row["threshold"]) == 0.1 and row["finding"] != "Mean"
    }
    assert sum(counted.values()) == len(lines)
    assert {row["metric"] for row in localization} >= {"IoU", "IoBB"}


def test_boxes_of_the_chosen_rule_are_scored_beside_the_papers(study):
    evaluation = study / "run" / "evaluation"
    rules = {
        (row["rule"], row["finding"]): row for row in rows(evaluation / "localization_rules.csv")
    }
    cuts = {
        (row["scale"], row["cut"], row["finding"]): row
        for row in rows(evaluation / "localization_cuts.csv")
    }
    scores = {
        (row["finding"], f"{row['metric']} > {row['threshold']}"): row["accuracy"]
        for row in rows(evaluation / "localization.csv")
    }
    chosen = {row["finding"]: row for row in rows(study / "run" / "box_rule.csv")}
    for finding in BOXED_FINDINGS:
        rule, cut = chosen[finding]["scale"], chosen[finding]["threshold"]
        in_use = rules["in use", finding]
        assert in_use["mean_iou"] == cuts[rule, cut, finding]["mean_iou"]
        assert in_use["IoU > 0.3"] == scores[finding, "IoU > 0.3"]
        paper, same = rules["paper", finding], cuts["range", str(180 / 255), finding]
        assert (paper["mean_iou"], paper["area_ratio"]) == (same["mean_iou"], same["area_ratio"])
    about = json.loads((study / "predicted" / "about.json").read_text())
    assert about["box_rule"]["by_finding"]["Mass"] == float(chosen["Mass"]["threshold"])


def test_boxes_to_be_scored_do_not_choose_the_rule(study):
    for program, data, message in (
        ("tune_boxes", "datasets", "holds the dataset that the run is scored on"),
        ("evaluate_boxes", "other_datasets", "chosen with the boxes to be scored"),
    ):
        words = [f"--workdir={study / 'run'}", f"--data_dir={study / data}"]
        command = [sys.executable, f"launch/{program}.py", *words]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr


def test_report_is_one_file(study):
    page = (study / "report.html").read_text()
    assert "data:image/" in page
    assert 'src="http' not in page
    assert "Cardiomegaly" in page


def test_new_radiographs_are_predicted(study):
    predicted = study / "predicted"
    assert len(rows(predicted / "predictions.csv")) == 2
    assert list(predicted.glob("**/*.png"))


def test_programs_called_again_reuse_what_is_there(study):
    before = {
        path: path.stat().st_mtime_ns
        for path in (study / "run" / "checkpoints").rglob("*")
        if path.is_file()
    }
    launch(
        "prepare",
        f"--release={study / 'release'}",
        f"--data_dir={study / 'datasets'}",
        "--image_size=64",
    )
    launch(
        "train",
        f"--config={study / 'tiny.py'}",
        f"--data_dir={study / 'datasets'}",
        f"--workdir={study / 'run'}",
    )
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_workdir_of_another_network_is_refused(study):
    done = subprocess.run(
        [sys.executable, "launch/train.py", f"--config={study / 'tiny.py'}",
         f"--data_dir={study / 'datasets'}", f"--workdir={study / 'run'}",
         "--config.model.head.num_classes=3", "--config.model.backbone.width=8"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_weights_survive_a_round_trip_to_pytorch(study):
    import jax

    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.models.weights.pretrained import load_classifier

    out = study / "run.safetensors"
    launch("convert_weights", f"--source={study / 'run'}", "--to=torch", f"--out={out}")
    predictor = Predictor.from_run(study / "run")
    back = load_classifier(out, predictor.model)
    jax.tree.map(np.testing.assert_array_equal, back, predictor.variables)


def test_sweep_trains_and_scores_once(study):
    """Called again, it takes up the results; tests/cli/test_sweep.py has several seeds."""
    arguments = [
        f"--configs={study / 'tiny.py'}",
        f"--data_dir={study / 'datasets'}",
        f"--out={study / 'sweep'}",
        "--set=epochs=1",
    ]
    launch("sweep", *arguments)
    (path,) = (study / "sweep").rglob("sweep_result.json")
    finished, result = path.stat().st_mtime_ns, json.loads(path.read_text())
    table = launch("sweep", *arguments)
    assert path.stat().st_mtime_ns == finished
    (row,) = rows(study / "sweep" / "sweep.csv")
    assert row["seeds"] == "1"
    np.testing.assert_allclose(float(row["AUC"]), result["AUC"])
    assert f"{result['AUC']:.3f}" in table
