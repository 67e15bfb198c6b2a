"""Files that PyTorch writes are read here, and files written here are read by PyTorch."""

import os

import jax
import numpy as np
import pandas as pd
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="PyTorch is an extra: make test-torch installs it")

from jaxcxr.data import phantom, prepare, read_release  # noqa: E402
from jaxcxr.errors import UserError  # noqa: E402
from jaxcxr.findings import FINDINGS  # noqa: E402
from jaxcxr.models import build_classifier, normalize  # noqa: E402
from jaxcxr.models.weights.pretrained import load_backbone, load_classifier, to_torch  # noqa: E402
from jaxcxr.models.weights.torch_files import read_torch_file, write_torch_file  # noqa: E402
from jaxcxr.models.weights.torch_names import to_jfhealthcare  # noqa: E402
from tests.programs import forked  # noqa: E402
from tests.torch import networks  # noqa: E402
from tests.torch.cases import AUTHORS, BACKBONES, CASES, HEADS  # noqa: E402

BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def randomized(config):
    network = networks.build(config)
    networks.randomize(network, seed=3)
    return network, build_classifier(config)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


AUTHORS_HEADS = ("Baseline", "SpaceAttention", "AttentionGated", "SqueezeExcitation")
AUTHORS_NETWORKS = {
    "baseline": HEADS["baseline"],
    "space_attention": {"name": "SpaceAttention", "window": 7},
    "attention_gated": AUTHORS["authors_gated"]["head"],
    "squeeze_excitation": {"name": "SqueezeExcitation", "window": 7, "shortcut": "authors"},
}


@pytest.mark.parametrize("head", [n for n in HEADS if HEADS[n]["name"] in AUTHORS_HEADS])
def test_the_authors_checkpoints_hold_the_same_arrays_under_their_names(head, tmp_path):
    network, model = randomized({"backbone": BACKBONES["resnet34"], "head": HEADS[head]})
    theirs = networks.authors_network(network).state_dict()
    if "attention_gated" in head:
        assert {"resnet.fc.weight", "ag1.theta.weight", "classifier3.bias"} <= theirs.keys()
    if "baseline" in head:
        assert {"resnet.0.weight", "trans_pool_prediction.fc.weight"} <= theirs.keys()
    if "deconvolution" in head:
        transition = {f"trans_pool_prediction.{n}.weight" for n in ("conv1", "bn1", "conv2", "bn2")}
        assert transition <= theirs.keys()
    torch.save(theirs, tmp_path / "unified_net_epoch_5.pt")
    torch.save(networks.state_dict(network), tmp_path / "ours.pth")
    assert_same(
        load_classifier(tmp_path / "unified_net_epoch_5.pt", model),
        load_classifier(tmp_path / "ours.pth", model),
    )


def test_jfhealthcares_pcam_network_is_read_and_written_back(tmp_path):
    network, model = randomized({"backbone": BACKBONES["densenet121"], "head": HEADS["pcam"]})
    theirs, maps = torch.nn.Module(), network.head.conv
    theirs.backbone = network.backbone
    for finding in range(14):
        fc = torch.nn.Conv2d(maps.in_channels, 1, 1)
        fc.weight.data, fc.bias.data = maps.weight[[finding]], maps.bias[[finding]]
        setattr(theirs, f"fc_{finding}", fc)
        setattr(theirs, f"bn_{finding}", torch.nn.BatchNorm2d(maps.in_channels))  # they never use
    torch.save(torch.nn.DataParallel(theirs).state_dict(), tmp_path / "theirs.pth")
    torch.save(networks.state_dict(network), tmp_path / "ours.pth")
    variables = load_classifier(tmp_path / "theirs.pth", model)
    assert_same(variables, load_classifier(tmp_path / "ours.pth", model))
    back = to_jfhealthcare(to_torch(variables, "DenseNet121"))
    state = theirs.state_dict()
    assert {n for n in state if n not in back and not n.endswith("num_batches_tracked")} == {
        *(f"bn_{at}.{leaf}" for at in range(14) for leaf in BATCH_NORM),
        "backbone.classifier.weight",
        "backbone.classifier.bias",
    }
    for name, array in back.items():
        np.testing.assert_array_equal(array, state[name].numpy(), err_msg=name)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_with_its_imagenet_classifier(backbone, tmp_path):
    network, model = randomized(CASES[f"{backbone}_baseline"])
    torch.save(network.backbone.state_dict(), tmp_path / "backbone.pth")
    torch.save(networks.state_dict(network), tmp_path / "whole.pth")
    whole = load_classifier(tmp_path / "whole.pth", model)
    alone = load_backbone(tmp_path / "backbone.pth", model.backbone)
    assert_same(alone, {collection: parts["backbone"] for collection, parts in whole.items()})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pytorch_loads_what_is_written_here(suffix, tmp_path):
    network, model = randomized(CASES["resnet50_baseline"])
    torch.save(networks.state_dict(network), tmp_path / "source.pth")
    variables = load_classifier(tmp_path / "source.pth", model)
    path = tmp_path / f"written{suffix}"
    write_torch_file(path, to_torch(variables, "ResNet50"))
    state = {name: torch.from_numpy(array) for name, array in read_torch_file(path).items()}
    fresh = networks.build(CASES["resnet50_baseline"])
    head = {name.removeprefix("head."): t for name, t in state.items() if name[:5] == "head."}
    fresh.head.load_state_dict(head)
    backbone = {name: tensor for name, tensor in state.items() if name[:5] != "head."}
    missing, unexpected = fresh.backbone.load_state_dict(backbone, strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}
    assert not unexpected
    for name, tensor in networks.state_dict(fresh).items():
        torch.testing.assert_close(tensor, network.state_dict().get(f"backbone.{name}", tensor))


@pytest.fixture(scope="module")
def phantom_256(tmp_path_factory):
    """A prepared phantom of 256 pixels, the study's, and programs that read it."""
    place = tmp_path_factory.mktemp("phantom")
    phantom.write_release(place / "release", 24, 256, seed=0, jobs=1)
    prepare(read_release(place / "release"), place, image_size=256)
    with forked("inference.prediction", "evaluation.finding_scores") as start:
        yield place, start


def classify_within(network, largest):
    """Scales the layers that classify, so that no probability is 0 or 1 to the last digit."""
    with torch.no_grad():
        logits = network.eval()(torch.randn(2, 3, 256, 256))[0]
        for layer in network.modules():
            if len(FINDINGS) in (getattr(layer, x, 0) for x in ("out_features", "out_channels")):
                for values in layer.parameters():
                    values *= largest / logits.abs().max()


@pytest.mark.parametrize("name", AUTHORS_NETWORKS)
def test_programs_take_the_authors_checkpoints_as_files(name, phantom_256, tmp_path):
    (place, start), head = phantom_256, AUTHORS_NETWORKS[name]
    network, _ = randomized({"backbone": BACKBONES["resnet34"], "head": head})
    classify_within(network, 1.5)
    file = tmp_path / "unified_net.pth"
    torch.save(networks.authors_network(network).state_dict(), file)
    model, out = f"--model={file}", f"--out={tmp_path / 'out'}"
    scored = [model, f"--data_dir={place}", out, "--bootstraps=2", "--batch_size=8"]
    for program in ("evaluate_auc", "evaluate_boxes"):
        done = start(program, *scored)
        assert done.returncode == 0, done.stderr
        assert f"is read as the authors' {name}: head " in done.stderr
    assert (tmp_path / "out/localization.csv").exists()
    table = pd.read_csv(tmp_path / "out/predictions.csv", index_col=0)
    images = [next((place / "release").rglob(image)) for image in table.index]
    done = start("predict", model, f"--out={tmp_path / 'predicted'}", "--nooverlays", *images)
    assert done.returncode == 0, done.stderr
    predicted = pd.read_csv(tmp_path / "predicted/predictions.csv", index_col=0)
    gray = np.stack([np.asarray(Image.open(image)) for image in images])[..., None]
    pixels = torch.from_numpy(np.array(normalize(gray)).transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = torch.sigmoid(network.eval()(pixels)[0]).numpy()
    assert 0.02 < np.ptp(expected, axis=1).max() < 0.98
    for ours in (table, predicted.loc[table.index]):
        assert tuple(ours) == FINDINGS
        np.testing.assert_allclose(ours.to_numpy(), expected, atol=1e-5)


class Code:
    """What a malicious file does when a careless reader opens it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_pickle_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path):
    marker = tmp_path / "it ran"
    torch.save({"conv1.weight": Code(marker)}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="refused") as error:
        read_torch_file(tmp_path / "evil.pth")
    assert f'checkpoint = torch.load("{tmp_path / "evil.pth"}"' in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 5}, {"state_dict": {"a": 1}}])
def test_contents_other_than_tensors_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not a state dict"):
        read_torch_file(tmp_path / "other.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize(
    ("name", "key"),
    [("model.pth", None), ("model.pth.tar", "state_dict"), ("last.ckpt", "state_dict"),
     ("a.bin", "model_state_dict"), ("a.pt", "model_state"), ("b.pt", "model")],
)  # fmt: skip
def test_tensors_are_read_as_pytorch_reads_them(name, key, zipped, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {"turned": base.T, "part": base[1:, 2:], "same": torch.nn.Parameter(base)}
    tensors |= {"half": base.half(), "brain": base.bfloat16(), "none": torch.zeros(0, 3)}
    tensors |= {"count": torch.tensor(3), "mask": base > 4}
    adam = torch.optim.Adam([tensors["same"]])
    tensors["same"].sum().backward()
    adam.step()
    training = {"epoch": 3, "loss": torch.tensor(0.1), "optimizer": adam.state_dict()}
    content = training | {key: tensors} if key else tensors
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    arrays = read_torch_file(tmp_path / name)
    assert arrays.keys() == tensors.keys()
    for at, tensor in tensors.items():
        assert arrays[at].dtype == np.float32
        np.testing.assert_array_equal(arrays[at], tensor.detach().float().numpy(), err_msg=at)


def test_pickled_module_is_refused_with_the_lines_that_make_a_state_dict(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = torch.nn.Linear(2, 3)
    for zipped in (True, False):
        torch.save(module, "module.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match="holds more than tensors") as error:
            read_torch_file("module.pth")
        lines = [line.strip() for line in str(error.value).splitlines()[1:]]
        exec("import torch\n" + "\n".join(lines))
        arrays = read_torch_file("weights.pth")
        np.testing.assert_array_equal(arrays["weight"], module.weight.detach().numpy())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "damaged.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.pth") as error:
        read_torch_file(tmp_path / "damaged.pth")
    assert "\n" not in str(error.value)
