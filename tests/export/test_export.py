"""Models in other runtimes: the written files, run by their own runtimes, agree with JAX."""

import dataclasses
import importlib
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxcxr as cxr
from jaxcxr.data.phantom import draw_radiograph
from jaxcxr.errors import UserError
from jaxcxr.export import FORMATS
from jaxcxr.export.exporting import export
from jaxcxr.images.square import make_square
from jaxcxr.models import Pixels, build_classifier
from jaxcxr.models.ops.portable import is_portable
from tests.programs import launch
from tests.torch.cases import BACKBONES, HEADS

PAGE = Path(__file__).parents[2] / "docs/export.md"
SIZE = 64
NEEDS = {"onnx": ("jax2onnx", "onnxruntime"), "tflite": ("ai_edge_litert",), "torch": ("torch",)}
NAMES = ("Lung Opacity", None, "Mass")
THREE = {"num_classes": 3}
TINY = {"name": "ResNet18", "blocks": [1, 1], "width": 2}
NETWORKS = {
    "resnet34_baseline": (BACKBONES["resnet34"], HEADS["baseline_deconvolution"]),
    "resnet34_space": (BACKBONES["resnet34"], HEADS["space_attention_window"]),
    "resnet18_gated": (BACKBONES["resnet18"], HEADS["attention_gated"]),
    "resnet50_squeeze": (BACKBONES["resnet50"], HEADS["squeeze_excitation"]),
    "resnet50_pcam": (BACKBONES["resnet50"] | {"output_stride": 8}, HEADS["pcam"]),
    "resnet18_lse": (BACKBONES["resnet18"], HEADS["log_sum_exp_learned"]),
    "densenet121_pylon": (BACKBONES["densenet121"], HEADS["pylon"]),
    "densenet121_baseline": (BACKBONES["densenet121"], HEADS["baseline"]),
}


def network_of(backbone, head):
    """A network of random weights, not trivial anywhere, one of whose outputs is not trained."""
    pixels = vars(Pixels((0.5,), (1 / 2048,))) if backbone["name"] == "DenseNet121" else {}
    config = {"backbone": backbone, "head": head | THREE}
    model = build_classifier(config | ({"pixels": pixels} if pixels else {}))
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), np.zeros((1, SIZE, SIZE, model.pixels.channels), np.float32)
    )
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        fan_in = max(np.prod(leaf.shape[:-1]), 1)
        scale = 1.5 / np.sqrt(fan_in) if len(leaf.shape) > 1 else 0.2
        drawn = rng.normal(0, scale, leaf.shape).astype(np.float32)
        return 1 + abs(drawn) if path[-1].key in ("var", "scale") else drawn

    variables = jax.tree_util.tree_map_with_path(draw, dict(shapes))
    source = {"license": "Apache-2.0", "name": "tiny"}
    return cxr.Predictor(model, variables, SIZE, findings=NAMES, source=source, square="pad")


@pytest.fixture
def model(tmp_path):
    """A model folder with operating points."""
    network_of(TINY, HEADS["baseline"]).save(tmp_path / "model")
    rows = "".join(f"{name},All,youden,0.25,0.5,0.5\n" for name in ("Lung Opacity", "Mass"))
    header = "finding,group,rule,threshold,sensitivity,specificity\n"
    (tmp_path / "model/operating_points.csv").write_text(header + rows)
    return tmp_path / "model"


def require(format_):
    for package in NEEDS.get(format_, ()):
        pytest.importorskip(package)


@pytest.mark.parametrize("format_", FORMATS)
def test_python_of_the_page_gives_what_the_predictor_gives(format_, model, tmp_path, monkeypatch):
    require(format_)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (code,) = [block for block in blocks if f'"{format_}/baseline' in block]
    predictor = cxr.load_model(model)
    export(predictor, tmp_path / format_ / "baseline", format_)
    radiograph = draw_radiograph(["Mass"], image_size=96, seed=10).image[:80]
    Image.fromarray(radiograph).save(tmp_path / "radiograph.png")
    images = make_square(radiograph, SIZE, "squash")[0][None, ..., None]
    probabilities, heatmaps = predictor(images)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "network", raising=False)
    names = {"images": images}
    exec(compile(code, str(PAGE), "exec"), names)
    outputs = names.get("outputs", names)
    np.testing.assert_allclose(outputs["probabilities"], probabilities, atol=1e-5)
    np.testing.assert_allclose(outputs["heatmaps"], heatmaps.values, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("network", NETWORKS)
def test_written_file_agrees_with_the_predictor(network, format_, tmp_path):
    """Of a tiny network: `test_python_of_the_page_gives_what_the_predictor_gives`."""
    require(format_)
    predictor = network_of(*NETWORKS[network])
    if format_ == "torch" and network == "resnet50_squeeze":
        with pytest.raises(UserError, match=r"^ResNet50 with Squeeze.* use another format$"):
            export(predictor, tmp_path / "out", format_)
        return
    export(predictor, tmp_path / "out", format_)
    others = [draw_radiograph(["Mass"], image_size=SIZE, seed=seed).image for seed in (10, 11)]
    images = np.stack(others)[..., None]
    found = importlib.import_module(f"jaxcxr.export.{format_}").load(tmp_path / "out")[1](images)
    probabilities, heatmaps = predictor(images)
    assert probabilities.shape == (2, 2)
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-4)
    scale = max(1, np.abs(heatmaps.values).max())
    np.testing.assert_allclose(found["heatmaps"], heatmaps.values, atol=1e-4 * scale)


def test_program_drops_the_messages_of_tensorflow(model, tmp_path):
    words = [f"--model={model}", "--format=savedmodel", f"--out={tmp_path / 'out'}"]
    assert launch("export", *words).stderr == ""


def test_program_writes_a_description_and_the_differences(model, tmp_path):
    words = [f"--model={model}", "--format=stablehlo", f"--out={tmp_path / 'out'}"]
    done = launch("export", *words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^jax.export \S+ against JAX on 3 synthetic radiographs", done.stdout)
    described = json.loads((tmp_path / "out/model.json").read_text())
    assert described["findings"] == ["Lung Opacity", "Mass"]
    assert described["operating_points"] == {"Lung Opacity": 0.25, "Mass": 0.25}
    assert described["license"] == "Apache-2.0"
    assert described["heatmap"] == {"first_center": 0.0, "stride": 8.0}
    assert described["square"] == "pad"
    assert "not for diagnosis" in described["notice"]
    parity = json.loads((tmp_path / "out/parity.json").read_text())
    assert 0 < parity["heatmaps"] <= 1e-4
    assert parity["images"] == 3
    assert re.match(r"jax.export \d", parity["runtime"])


def test_onnx_file_describes_itself(model, tmp_path):
    require("onnx")
    import onnxruntime

    export(cxr.load_model(model), tmp_path / "out", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx")
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["findings"]) == ["Lung Opacity", "Mass"]
    assert json.loads(texts["heatmap"]) == {"first_center": 0.0, "stride": 8.0}
    assert (texts["square"], texts["license"]) == ("pad", "Apache-2.0")
    assert [session.get_inputs()[0].name, session.get_inputs()[0].shape[0]] == ["images", "B"]


@pytest.mark.parametrize("head", ["baseline", "space_attention"])
def test_tensorflow_lite_takes_one_radiograph(head, tmp_path):
    require("tflite")
    from ai_edge_litert.interpreter import Interpreter

    export(network_of(TINY | {"width": 16}, HEADS[head]), tmp_path / "out", "tflite")
    interpreter = Interpreter(str(tmp_path / "out/model.tflite"))
    assert interpreter.get_input_details()[0]["shape_signature"].tolist()[0] == 1


def test_file_that_differs_from_jax_is_refused(tmp_path, monkeypatch):
    def wrong(_, maps, side):
        return maps.max((1, 2)) + 0.1 * is_portable()

    monkeypatch.setattr(cxr.Baseline, "_pool", wrong)
    with pytest.raises(UserError, match=r"^jax.export \S+ differs from JAX by \d.*nothing is wri"):
        export(network_of(TINY, HEADS["baseline"]), tmp_path / "out", "stablehlo")
    assert not [*tmp_path.iterdir()]


def test_head_of_ones_own_is_not_written_as_ours_of_the_same_name(tmp_path):
    require("torch")
    predictor = network_of(TINY, HEADS["baseline"])
    own = type("Baseline", (cxr.Baseline,), {"__module__": __name__})(num_classes=3)
    predictor = dataclasses.replace(predictor, model=predictor.model.clone(head=own))
    with pytest.raises(UserError, match=r"^ResNet18 with Baseline is not defined in PyTorch"):
        export(predictor, tmp_path / "out", "torch")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, SIZE, SIZE, 1), np.float32),
        ((1, 32, 32, 1), np.uint8),
        ((1, SIZE, SIZE, 3), np.uint8),
        ((SIZE, SIZE, 1), np.uint8),
    ],
)
def test_pytorch_network_refuses_other_images(shape, dtype, tmp_path):
    require("torch")
    from jaxcxr.export import torch

    export(network_of(TINY, HEADS["baseline"]), tmp_path / "out", "torch")
    _, run = torch.load(tmp_path / "out")
    with pytest.raises(ValueError, match=rf"takes torch.uint8 of shape \(B, {SIZE}, {SIZE}, 1\)$"):
        run(np.zeros(shape, dtype))


def test_missing_package_and_existing_folder_are_one_line_each(tmp_path, monkeypatch):
    predictor = network_of(TINY, HEADS["baseline"])
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(UserError, match=r"^jax2onnx is not .*: pip install 'jaxcxr\[onnx\]'$"):
        export(predictor, tmp_path / "out", "onnx")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(UserError, match=r"exists already; name a new folder or remove it$"):
        export(predictor, tmp_path, "stablehlo")
