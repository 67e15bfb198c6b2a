"""Every program of the command contract, on a tiny phantom."""

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models.weights.pretrained import load_classifier
from tests.programs import Ended, forked

CONFIG = """
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

OWN_HEAD = """
from flax import linen as nn

import jaxcxr as cxr


@cxr.register_head
class MeanOfSecondStage(cxr.Head):
    num_classes: int = 14
    scale: float = 1.0

    def heatmap_grid(self, stages):
        return stages[1]

    @nn.compact
    def __call__(self, stages, mode=cxr.Mode()):
        heatmaps = self.scale * nn.Conv(self.num_classes, (1, 1))(stages[1])
        return cxr.Prediction(heatmaps.mean((1, 2)), heatmaps)
"""

MODULES = ("data.preparation", "runs.experiment", "inference.prepared", "reporting.report")
REFUSED = ("other network", "head not imported", "tune with test boxes", "boxes of the rule")


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def commands(root: Path) -> dict[str, list[str]]:
    """Returns the programs of a study, and those that are started again, in this order."""
    data_dir, workdir, heads = (
        f"--data_dir={root}",
        f"--workdir={root}/run",
        f"--import={root}/heads.py",
    )
    prepare = ["prepare", f"--release={root}/release", data_dir, "--image_size=64"]
    train = ["train", f"--config={root}/tiny.py", data_dir, workdir]
    sweep = ["sweep", f"--configs={root}/tiny.py", data_dir, f"--out={root}/sweep", heads]
    sweep += ["--set=epochs=1", "--set=model.head.name=MeanOfSecondStage"]
    own = f"--workdir={root}/sweep/tiny/as_configured/seed_0"
    images = [f"{root}/release/images/{number:08}_000.png" for number in (1, 2)]
    small = ["--images=120", "--image_size=64"]
    other = f"--data_dir={root}/other_data"
    layer_cam = ["--heatmap=layer_cam", "--stage=2", "--stage=3", "--flip", "--threshold=60,otsu"]
    return {
        "phantom": ["make_phantom", f"--out={root}/release", *small],
        "prepare": prepare,
        "train": train,
        "auc": ["evaluate_auc", workdir, data_dir],
        "other phantom": ["make_phantom", f"--out={root}/other", "--seed=4", *small],
        "prepare other": ["prepare", f"--release={root}/other", other, "--image_size=64"],
        "tune": ["tune_boxes", workdir, other, "--heatmap=layer_cam", "--stage=1", "--flip"],
        "tune with test boxes": ["tune_boxes", workdir, data_dir],
        "boxes": ["evaluate_boxes", workdir, data_dir],
        "boxes of the rule": ["evaluate_boxes", workdir, other],
        "predict by the rule": ["predict", workdir, f"--out={root}/ruled", *images],
        "predict by LayerCAM": ["predict", workdir, f"--out={root}/cam", *layer_cam, *images],
        "report": ["report", f"--workdirs={root}/run", f"--out={root}/report.html"],
        "convert": [
            "convert_weights",
            f"--source={root}/run",
            "--to=torch",
            f"--out={root}/w.safetensors",
        ],
        "sweep": sweep,
        "predict": ["predict", own, heads, f"--out={root}/predicted", "--save_heatmaps", *images],
        "head not imported": ["predict", own, f"--out={root}/no", *images],
        "prepare again": prepare,
        "train again": train,
        "other network": [*train, "--config.model.backbone.width=8"],
        "sweep again": sweep,
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, dict[str, Ended]]:
    """The folder of a complete study, and what each program printed."""
    root = tmp_path_factory.mktemp("study")
    (root / "tiny.py").write_text(CONFIG)
    (root / "heads.py").write_text(OWN_HEAD)
    with forked(*MODULES) as launch:
        ended = {name: launch(*words) for name, words in commands(root).items()}
    for name, each in ended.items():
        assert (each.returncode != 0) == (name in REFUSED), (name, each.stderr)
        assert "Traceback" not in each.stderr
    return root, ended


@pytest.fixture
def root(study) -> Path:
    return study[0]


def test_run_folder_is_complete(root):
    run = root / "run"
    history = rows(run / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert all(float(row["val_loss"]) > 0 for row in history)
    assert json.loads((run / "config.json").read_text())["model"]["backbone"]["name"] == "ResNet18"
    assert list((run / "tensorboard").glob("events.*"))
    facts = json.loads((run / "run.json").read_text())
    assert facts["packages"]["jax"]
    assert facts["data"]["synthetic"] is True
    assert facts["parameters"] > 1000


def test_every_test_image_is_scored_as_by_scikit_learn(root):
    evaluation = root / "run" / "evaluation"
    predictions, labels = rows(evaluation / "predictions.csv"), rows(evaluation / "labels.csv")
    names = [row["Image Index"] for row in predictions]
    assert sorted(names) == sorted((root / "release" / "test_list.txt").read_text().split())
    assert names == [row["Image Index"] for row in labels]
    scores = rows(evaluation / "auc.csv")
    assert [row["finding"] for row in scores] == [*FINDINGS, "Mean"]
    for score in scores[:-1]:
        truth, probabilities = (
            [float(row[score["finding"]]) for row in table] for table in (labels, predictions)
        )
        if len(set(truth)) == 2:
            expected = roc_auc_score(truth, probabilities)
            np.testing.assert_allclose(float(score["auc"]), expected, atol=1e-6)
    assert (evaluation / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_every_annotated_box_is_a_case(root):
    lines = (root / "release" / "BBox_List_2017.csv").read_text().splitlines()[1:]
    counted = [
        int(row["boxes"])
        for row in rows(root / "run" / "evaluation" / "localization.csv")
        if row["metric"] == "IoU" and float(row["threshold"]) == 0.1 and row["finding"] != "Mean"
    ]
    assert sum(counted) == len(lines)


def test_boxes_of_the_chosen_rule_are_scored_beside_the_papers(study):
    root, ended = study
    evaluation = root / "run" / "evaluation"
    keyed = {
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
    chosen = {row["finding"]: row for row in rows(root / "run" / "box_rule.csv")}
    for finding in BOXED_FINDINGS:
        in_use, paper = keyed["in use", finding], keyed["paper", finding]
        cut = cuts[chosen[finding]["scale"], chosen[finding]["threshold"], finding]
        assert in_use["mean_iou"] == cut["mean_iou"]
        assert in_use["IoU > 0.3"] == scores[finding, "IoU > 0.3"]
        maps = "layer_cam, stage 1, flip; scale"
        at = f"{float(chosen[finding]['threshold']):.2g}"
        assert in_use["drawn_by"] == f"{maps} {chosen[finding]['scale']}, cut at {at}"
        assert paper["drawn_by"] == f"{maps} range, cut at 0.71"
        same = cuts["range", str(180 / 255), finding]
        assert (paper["mean_iou"], paper["area_ratio"]) == (same["mean_iou"], same["area_ratio"])
    assert "box_rule.csv: layer_cam, stage 1, flip; scale" in ended["boxes"].stdout
    assert "boxes are drawn by" not in ended["predict by LayerCAM"].stdout
    ruled = json.loads((root / "ruled" / "about.json").read_text())
    assert ruled["heatmaps"] == "layer_cam, stage 1, flip"
    assert ruled["box_rule"]["by_finding"]["Mass"] == float(chosen["Mass"]["threshold"])
    rule = json.loads((root / "cam" / "about.json").read_text())["box_rule"]
    assert (rule["by_finding"], rule["cuts"]) == ({}, [60 / 255, "otsu"])


def test_boxes_to_be_scored_do_not_choose_the_rule(study):
    ended = study[1]
    assert "the dataset that the run is scored on" in ended["tune with test boxes"].stderr
    assert "chosen with the boxes to be scored" in ended["boxes of the rule"].stderr


def test_programs_called_again_reuse_their_results(study):
    root, ended = study
    assert ended["prepare again"].stdout.startswith("already prepared")
    assert "2 of 2 epochs are done" in ended["train again"].stdout
    assert len(rows(root / "run" / "history.csv")) == 2
    assert ended["sweep again"].stdout == ended["sweep"].stdout
    log = (root / "sweep/tiny/as_configured/seed_0/log.txt").read_text()
    assert log.count("epoch  1/1  loss") == log.count("1 of 1 epochs are done") == 1


def test_weights_survive_a_round_trip_to_pytorch(root):
    predictor = Predictor.from_run(root / "run")
    back = load_classifier(root / "w.safetensors", predictor.model)
    jax.tree.map(np.testing.assert_array_equal, back, predictor.variables)


def test_sweep_table_has_the_scores_of_its_run(study):
    root, ended = study
    (path,) = (root / "sweep").rglob("auc.csv")
    auc = float(rows(path)[-1]["auc"])
    (row,) = rows(root / "sweep" / "sweep.csv")
    assert row["seeds"] == "1"
    np.testing.assert_allclose(float(row["AUC"]), auc)
    assert f"{auc:.3f}" in ended["sweep"].stdout


def test_head_of_a_users_file_is_trained_scored_boxed_and_predicted_with(study):
    root, ended = study
    run = root / "sweep/tiny/as_configured/seed_0"
    assert json.loads((run / "config.json").read_text())["model"]["head"] == {
        "name": "MeanOfSecondStage", "num_classes": 14, "scale": 1.0,
    }  # fmt: skip
    assert f"--data_dir={root} --import={root}/heads.py\n" in (run / "log.txt").read_text()
    assert rows(run / "evaluation" / "boxes.csv")
    assert len(rows(root / "predicted" / "predictions.csv")) == 2
    saved = np.load(next((root / "predicted" / "heatmaps").glob("*.npz")))
    assert (saved["heatmaps"].shape, saved["stride"]) == ((8, 8, 14), 8)
    assert "MeanOfSecondStage" in ended["head not imported"].stderr
    assert ended["head not imported"].stderr.rstrip().endswith("(--import)")
