"""Models on the Hugging Face hub: pushed, pulled, and what is said where that cannot work."""

import json
import socket

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import jaxcxr as cxr
from jaxcxr.training.state import initial_variables
from tests.hub import TOKEN, serving
from tests.programs import forked

NETWORK = cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline())
SCORES = "finding,auc,ci_low,ci_high,positives,negatives\nEffusion,0.875,0.75,1.0,30,70\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, its scores, and a radiograph."""
    place = tmp_path_factory.mktemp("place")
    trained = cxr.Predictor(
        NETWORK, initial_variables(NETWORK, 64, seed=0), 64, source={"license": "MIT"}
    )
    trained.save(place / "model")
    (place / "model/evaluation").mkdir()
    (place / "model/evaluation/auc.csv").write_text(SCORES)
    (place / "model/evaluation/labels.csv").write_text("secret")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    Image.fromarray(pixels).save(place / "a.png")
    return place


@pytest.fixture(scope="module")
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def start(place, port):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        patch.setenv("HF_HOME", str(place / "huggingface"))
        patch.setenv("HF_HUB_DISABLE_XET", "1")  # LFS instead, which the tests' hub understands
        patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        patch.delenv("HF_TOKEN", raising=False)
        with forked("inference.prediction", "runs.trained", "reporting.figures") as launch:
            yield lambda verb, *words: launch(verb, *words, cwd=place)


@pytest.fixture
def token(place):
    path = place / "huggingface/token"
    path.parent.mkdir(exist_ok=True)
    path.write_text(TOKEN)
    yield path
    path.unlink()


@pytest.fixture
def hub(port):
    with serving(port) as hub:
        yield hub


def test_pushed_and_pulled_model_predicts_the_same_bits(start, place, hub, token):
    done = start("push", "--model=model", "--private", "hf:owner/tiny")
    assert done.returncode == 0, done.stderr
    assert f"written: {hub.address}/owner/tiny/commit/" in done.stdout
    assert hub.repositories["owner/tiny"]["private"]
    files = hub.files("owner/tiny")
    known = {".gitattributes", "README.md", "auc.csv", "config.json", "model.safetensors"}
    assert set(files) == known
    for model in ("model", "hf:owner/tiny"):
        words = [f"--out={model[:2]}", "--save_heatmaps", "--findings=all"]
        done = start("predict", f"--model={model}", *words, "a.png")
        assert done.returncode == 0, done.stderr
    for name in ("predictions.csv", "boxes.csv", "heatmaps/a.png.npz"):
        assert (place / "mo" / name).read_bytes() == (place / "hf" / name).read_bytes()
    assert list((place / "huggingface/hub").glob("models--owner--tiny/snapshots/*/model.*"))


def test_card_has_scores_recipe_limits_and_valid_metadata(start, place, hub, token):
    assert start("push", "--model=model", "hf:owner/tiny").returncode == 0
    card = ModelCard(hub.files("owner/tiny")["README.md"].decode())
    metadata = card.data.to_dict()
    assert (metadata["license"], metadata["library_name"]) == ("mit", "jaxcxr")
    for text in ("| Effusion | 0.875 | 0.750 to 1.000 | 30 of 100 |", "Recipe: ", "## Limits"):
        assert text in card.text


def test_second_push_removes_stale_tables_and_keeps_an_edited_card(start, place, hub, token):
    hub.create("owner/tiny")
    hub.commit("owner/tiny", "main", {"calibration.csv": b"old", "figure.png": b"theirs"})
    original = (place / "model/README.md").read_text()
    (place / "model/README.md").write_text(original + "\nWritten by hand.\n")
    done = start("push", "--model=model", "hf:owner/tiny", "--revision=v2")
    (place / "model/README.md").write_text(original)
    assert done.returncode == 0, done.stderr
    assert "--model=hf:owner/tiny@v2" in done.stdout
    files = hub.files("owner/tiny", "v2")
    assert "calibration.csv" not in files
    assert files["figure.png"] == b"theirs"
    assert files["README.md"].decode().endswith("Written by hand.\n")
    assert json.loads(files["config.json"])["image_size"] == 64
    assert set(hub.files("owner/tiny")) == {"calibration.csv", "figure.png"}


def assert_one_line(done, *messages):
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for message in ("error: ", *messages):
        assert message in done.stderr


def test_push_without_token_is_refused(start, hub):
    done = start("push", "--model=model", "hf:owner/tiny")
    assert_one_line(done, "no token of the Hugging Face hub was found", "hf auth login")


def test_token_that_may_not_write_is_refused(start, hub, token):
    token.write_text("hf_other")
    done = start("push", "--model=model", "hf:owner/tiny")
    assert_one_line(done, "hf:owner/tiny cannot be written", "status 403", "hf auth login")


def test_private_model_is_not_written_to_a_public_repository(start, hub, token):
    hub.create("owner/tiny")
    done = start("push", "--model=model", "--private", "hf:owner/tiny")
    assert_one_line(done, "hf:owner/tiny is public; make it private")
    assert set(hub.files("owner/tiny")) == {".gitattributes"}


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--model=model", "owner/tiny"], ["'owner/tiny'", "expected hf:owner/name"]),
        (["--model=model", "hf:owner/ti ny"], ["hf:owner/ti ny", "expected hf:owner/name"]),
        (["--model=model"], ["expected one, hf:owner/name"]),
        (["--model=huggingface", "hf:owner/tiny"], ["huggingface is not the folder of a run"]),
    ],
)
def test_what_cannot_be_pushed_is_refused(start, hub, token, words, messages):
    assert_one_line(start("push", *words), *messages)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("hf:owner/missing", "no such repository, or a private one; check the name"),
        ("hf:owner/empty@v9", "no such revision"),
        ("hf:owner/empty", "is not the folder of a run or a model: it has no config.json"),
    ],
)
def test_what_cannot_be_pulled_is_refused(start, hub, model, message):
    hub.create("owner/empty")
    done = start("predict", f"--model={model}", "--out=refused", "a.png")
    assert_one_line(done, model, message)


def test_missing_network_is_named(start, token):
    done = start("push", "--model=model", "hf:owner/tiny")
    assert_one_line(done, "hf:owner/tiny cannot be written: the hub cannot be reached")
    done = start("predict", "--model=hf:owner/other", "--out=refused", "a.png")
    assert_one_line(done, "hf:owner/other cannot be downloaded: the hub cannot be reached")
