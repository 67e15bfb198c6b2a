import hashlib

import jax
import numpy as np
import pytest

from jaxcxr.errors import UserError
from jaxcxr.inference.predictor import load_model
from jaxcxr.models import Baseline, Classifier, DenseNet121
from jaxcxr.models.weights import catalog, hub_file
from jaxcxr.models.weights.foreign import TORCHXRAYVISION_PIXELS
from jaxcxr.models.weights.model_folder import load_model_folder
from jaxcxr.models.weights.pretrained import to_torch
from jaxcxr.models.weights.sources import is_downloaded
from jaxcxr.models.weights.torch_files import write_torch_file

DENSENET = DenseNet121(blocks=(2, 1, 1, 1), width=4, growth=4)


def test_every_entry_has_its_license_its_split_and_pinned_bytes_where_they_are_known():
    assert catalog.default() in catalog.entries()
    for name, entry in catalog.entries().items():
        assert entry["license"] == "Apache-2.0", name
        assert "80 % of the patients" in entry["training_split"], name
        assert len(entry["thresholds"]) == 18, name
        assert len(bytes.fromhex(entry.get("sha256", 32 * "00"))) == 32, name
        assert entry["revision"] == "main" or len(bytes.fromhex(entry["revision"])) == 20, name


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """Puts a small network of TorchXRayVision's kind where files fetched by hand are found."""
    monkeypatch.setenv("JAXCXR_WEIGHTS", str(tmp_path))
    head = Baseline(num_classes=18, pooling="average", transition="none")
    model = Classifier(DENSENET, head, TORCHXRAYVISION_PIXELS)
    images = jax.ShapeDtypeStruct((1, 64, 64, 1), np.float32)
    shapes = dict(jax.eval_shape(model.init, jax.random.key(0), images))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    state = to_torch(variables, "DenseNet121")
    state = {name.replace("head.classifier", "classifier"): a for name, a in state.items()}
    path = tmp_path / "small.safetensors"
    write_torch_file(path, state)
    entry = catalog.entries()["torchxrayvision-densenet121-nih"] | {"file": "model.safetensors"}
    monkeypatch.setattr(catalog, "entries", lambda: {"small": entry})
    return path, entry


def test_network_of_the_catalog_becomes_a_model_folder_once(placed, caplog):
    path, _ = placed
    folder = catalog.catalog_folder("small")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f'add sha256 = "{sha256}"' in caplog.text
    assert "Apache-2.0" in caplog.text
    assert "test list, which must not be scored" in caplog.text
    trained = load_model_folder(folder)
    assert trained.source["sha256"] == sha256
    assert trained.square == "crop"
    assert trained.findings[12:] == ("Mass", "Hernia", None, None, None, None)
    points = (folder / "operating_points.csv").read_text().splitlines()
    assert points[:2] == ["finding,group,rule,threshold", "Atelectasis,All,youden,0.039117552"]
    assert len(points) == 15
    path.unlink()
    caplog.clear()
    assert catalog.catalog_folder("small") == folder
    assert "unverified" not in caplog.text
    assert "Apache-2.0" in caplog.text


def test_names_of_the_catalog_and_pytorch_files_are_models(placed):
    path, _ = placed
    named, file = load_model("small"), load_model(path)
    assert named.folder == catalog.catalog_folder("small")
    assert file.named_findings[:2] == named.named_findings[:2] == ("Atelectasis", "Consolidation")
    assert named.operating_points.thresholds[0] == pytest.approx(0.039117552)
    assert is_downloaded("small")
    assert not is_downloaded(path)
    with pytest.raises(UserError, match="hf:owner/name or one of small"):
        load_model("smal")


def test_wrong_bytes_and_unknown_names_are_refused(placed):
    path, entry = placed
    entry["sha256"] = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(UserError, match="SHA-256") as error:
        catalog.catalog_folder("small")
    assert str(path) in str(error.value)
    with pytest.raises(UserError, match="use one of small"):
        catalog.catalog_folder("large")
    assert hub_file.weights_folder() == path.parent
