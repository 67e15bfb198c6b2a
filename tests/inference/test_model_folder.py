"""Model folders hold all that it takes to predict, and folders of weights serve as well."""

import json
import logging

import jax
import numpy as np
import pytest

from jaxcxr.errors import UserError
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import Baseline, Classifier, ResNet18, classifier_config, normalize
from jaxcxr.models.weights.model_folder import TrainedModel, load_model_folder, save_model_folder
from jaxcxr.training.state import initial_variables

MODEL = Classifier(ResNet18(blocks=(1, 1), width=2), Baseline(pooling="lse", lse_positions="side"))


@pytest.fixture
def folder(tmp_path):
    save_model_folder(tmp_path / "model", TrainedModel(MODEL, initial_variables(MODEL, 64, seed=1)))
    return tmp_path / "model"


@pytest.fixture
def old_folder(folder):
    """A folder of weights as earlier versions of this package wrote it."""
    (folder / "config.json").write_text(json.dumps({"model": classifier_config(MODEL)}))
    return folder


def test_old_weight_folder_has_the_studys_findings_and_image_size(old_folder, caplog):
    with caplog.at_level(logging.WARNING):
        predictor = Predictor.from_run(old_folder)
    assert "the study's 256 pixels are used" in caplog.text
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 1), np.uint8)
    expected = MODEL.apply(initial_variables(MODEL, 64, seed=1), normalize(images))
    np.testing.assert_allclose(predictor(images)[0], jax.nn.sigmoid(expected.logits), atol=1e-5)
    assert predictor.image_size == 256


def test_config_holds_everything_but_the_arrays(tmp_path):
    model = Classifier(ResNet18(blocks=(1, 1), width=2), Baseline(num_classes=3))
    saved = TrainedModel(
        model,
        initial_variables(model, 32, seed=1),
        32,
        square="pad",
        synthetic=True,
        findings=("Lung Lesion", None, "Edema"),
        source={"name": "somebody's", "license": "Apache-2.0", "url": "https://example.org"},
        training_data="phantom",
        training_split="all",
    )
    scores = "finding,auc,ci_low,ci_high,positives,negatives\nEdema,0.75,0.5,0.9,3,7\nMean,,,,0,0\n"
    save_model_folder(tmp_path / "model", saved, {"auc.csv": scores})
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["format_version"] == 1
    assert config["heatmap"] == {"first_center": 0.0, "stride": 8.0}
    assert load_model_folder(tmp_path / "model").config() == saved.config()
    card = (tmp_path / "model/README.md").read_text()
    header = card.split("---")[1]
    assert "license: apache-2.0" in header
    assert "library_name: jaxcxr" in header
    assert "synthetic-data" in header
    assert "| Edema | 0.750 | 0.500 to 0.900 | 3 of 10 |" in card
    for words in ("not for diagnosis", "synthetic radiographs", "(not trained)", "example.org"):
        assert words in card


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format_version", 2, "format_version is 2; this version of jaxcxr reads 1"),
        ("findings", ["Edema"], "expected different names for the network's 14 outputs"),
        ("findings", ["Edema"] * 14, "expected different names"),
        ("findings", ["../a", *"bcdefghijklmn"], "is not the name of a finding"),
        ("findings", 3, "does not describe a network"),
        ("image_size", "256", "expected 16 to 2048 pixels"),
        ("square", "tile", "one of squash, pad"),
        ("network", [], "does not describe a network|a backbone alone"),
        ("network", {"backbone": {"name": "Other"}, "head": {}}, "not registered"),
    ],
)
def test_invalid_config_is_one_line_with_the_files_name(folder, name, value, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(UserError, match=message) as raised:
        load_model_folder(folder)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)
