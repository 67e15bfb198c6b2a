import os
import re

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.models import (
    INFERENCE,
    PCAM,
    AttentionGated,
    Baseline,
    Classifier,
    DenseNet121,
    Head,
    LogSumExp,
    Pixels,
    Prediction,
    ResNet18,
    ResNet50,
    SpaceAttention,
    SqueezeExcitation,
    register_head,
)
from jaxcxr.models.weights.foreign import operating_points, read_foreign
from jaxcxr.models.weights.model_folder import (
    TrainedModel,
    load_model_folder,
    save_backbone,
    save_model_folder,
)
from jaxcxr.models.weights.pretrained import initialize, load_backbone, load_classifier, to_torch
from jaxcxr.models.weights.torch_files import read_torch_file, write_torch_file
from jaxcxr.models.weights.torch_names import to_jfhealthcare

RESNET = ResNet18(blocks=(2, 1, 1, 1), width=2)
DENSENET = DenseNet121(blocks=(2, 1, 1, 1), width=4, growth=4)
MODEL = Classifier(RESNET, Baseline())


def drawn(model):
    """Returns random variables, without compiling the network."""
    channels = getattr(model, "pixels", Pixels()).channels
    images = jax.ShapeDtypeStruct((1, 64, 64, channels), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: random.random(leaf.shape, np.float32), dict(shapes))


def zeros(model):
    return jax.tree.map(np.zeros_like, drawn(model))


@register_head
class OwnHead(Head):
    """A head with arrays that PyTorch has no names for."""

    def heatmap_grid(self, stages):
        return stages[-1]

    @nn.compact
    def __call__(self, stages, mode=INFERENCE):
        scale = self.param("temperature", nn.initializers.ones, (3, 5))
        bias = self.param("bias", nn.initializers.zeros, ())
        heatmaps = nn.Conv(self.num_classes, (1, 1))(nn.LayerNorm()(stages[-1]))
        return Prediction(heatmaps.mean((1, 2)) * scale.mean() + bias, heatmaps)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def backbone_file(backbone, variables):
    name = type(backbone).__name__
    return to_torch({key: {"backbone": part} for key, part in variables.items()}, name)


def saved(tmp_path, arrays):
    path = tmp_path / "weights.safetensors"
    write_torch_file(path, arrays)
    return path


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        Classifier(DENSENET, Baseline(transition="deconvolution")),
        Classifier(ResNet50(blocks=(1, 1, 1, 1), width=2), AttentionGated(aggregation="deep_sup")),
        Classifier(RESNET, SqueezeExcitation()),
    ],
    ids=["baseline", "deconvolution", "attention_gated", "squeeze_excitation"],
)
def test_what_is_exported_can_be_read_again(model, tmp_path):
    variables = drawn(model)
    exported = to_torch(variables, type(model.backbone).__name__)
    assert_same(load_classifier(saved(tmp_path, exported), model), variables)


def test_torchvisions_unused_arrays_are_passed_over(tmp_path):
    variables = drawn(RESNET)
    arrays = backbone_file(RESNET, variables) | {
        "fc.weight": np.zeros((1000, 16), np.float32),
        "fc.bias": np.zeros(1000, np.float32),
        "bn1.num_batches_tracked": np.zeros((), np.int64),
    }
    assert_same(load_backbone(saved(tmp_path, arrays), RESNET), variables)


def test_missing_extra_and_misshapen_parameters_are_all_named(tmp_path):
    arrays = to_torch(drawn(MODEL), "ResNet18")
    del arrays["layer1.1.conv2.weight"]
    arrays["layer9.weight"] = np.zeros(3, np.float32)
    arrays["head.classifier.weight"] = np.zeros((15, 16), np.float32)
    path = saved(tmp_path, arrays)
    with pytest.raises(UserError) as error:
        load_classifier(path, MODEL)
    message = str(error.value)
    assert str(path) in message
    assert "3 parameters" in message
    assert "layer1.1.conv2.weight is missing" in message
    assert "layer9.weight is not a parameter of the network" in message
    assert "head.classifier.weight has the shape (15, 16), expected (14, 16)" in message


def test_a_backbones_file_gives_the_backbone_and_leaves_the_head(tmp_path):
    trained, random = drawn(RESNET), jax.tree.map(np.zeros_like, drawn(MODEL))
    path = saved(tmp_path, backbone_file(RESNET, trained))
    variables = initialize(MODEL, random, path)
    for collection, part in trained.items():
        assert_same(variables[collection]["backbone"], part)
    assert_same(variables["params"]["head"], random["params"]["head"])


@pytest.mark.parametrize(
    "model",
    [MODEL, Classifier(RESNET, OwnHead())],
    ids=["classifier", "own_head"],
)
def test_model_folder_restores_network_and_arrays(model, tmp_path):
    variables = drawn(model)
    save_model_folder(tmp_path / "weights", TrainedModel(model, variables))
    assert sorted(os.listdir(tmp_path / "weights")) == [
        "README.md", "config.json", "model.safetensors"
    ]  # fmt: skip
    restored = load_model_folder(tmp_path / "weights")
    assert restored.model == model
    assert_same(restored.variables, variables)
    assert_same(initialize(model, zeros(model), tmp_path / "weights"), variables)
    with pytest.raises(UserError, match="exists already"):
        save_model_folder(tmp_path / "weights", TrainedModel(model, variables))


def test_folders_that_are_not_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.json does not describe a network"):
        load_model_folder(tmp_path)
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        initialize(MODEL, zeros(MODEL), tmp_path)
    alone = {name: {"backbone": part} for name, part in drawn(RESNET).items()}
    save_backbone(tmp_path / "alone", RESNET, alone)
    with pytest.raises(UserError, match="a backbone alone"):
        load_model_folder(tmp_path / "alone")


def test_initial_weights_may_be_variables_of_a_part():
    part = {name: {"backbone": tree} for name, tree in drawn(RESNET).items()}
    started = initialize(MODEL, zeros(MODEL), part)
    for name, tree in drawn(RESNET).items():
        assert_same(started[name]["backbone"], tree)
    assert not np.any(started["params"]["head"]["classifier"]["kernel"])
    with pytest.raises(UserError, match="does not fit the network"):
        initialize(MODEL, zeros(MODEL), {"params": {"backbone": {}, "head": {"a": np.zeros(1)}}})
    assert initialize(MODEL, part, "random") is part


def foreign(model, around, classifier, dots=False):
    """Returns random variables of a network with one dense layer, and a state dict of others."""
    variables = drawn(model)
    named = to_torch(variables, type(model.backbone).__name__)
    if dots:
        named = {re.sub(r"(denselayer\d\.(?:norm|conv))", r"\1.", k): a for k, a in named.items()}
    return variables, {
        around + name.replace("head.classifier", classifier): array for name, array in named.items()
    }


@pytest.mark.parametrize(
    ("backbone", "around", "classifier"),
    [
        (DENSENET, "", "classifier"),
        (DENSENET, "module.", "classifier"),
        (DENSENET, "module.densenet121.", "classifier.0"),
        (DENSENET, "model.net.backbone.", "classifier.1"),
        (RESNET, "module.", "fc"),
        (RESNET, "net.", "fc.0"),
        (ResNet50(blocks=(1, 1, 1, 1), width=2), "encoder.", "last_linear"),
    ],
)
@pytest.mark.parametrize("outputs", [14, 5])
def test_network_is_recognized_whatever_is_put_around_its_names(
    backbone, around, classifier, outputs, tmp_path
):
    head = Baseline(num_classes=outputs, pooling="average", transition="none")
    model = Classifier(backbone, head)
    variables, named = foreign(model, around, classifier, dots="densenet121" in around)
    named |= {
        "optimizer_step.num_batches_tracked": np.zeros(()),
        "criterion.pos_weight": np.ones(5),
        "loss_fn.weight": np.ones(5),
    }
    half = {name: array.astype(np.float16) for name, array in named.items()}
    found = read_foreign(saved(tmp_path, half))
    assert (found.backbone, found.head) == (backbone, head)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-3), found.variables, variables)
    assert load_classifier(saved(tmp_path, named), model).keys() == variables.keys()
    names = ("A", None, "B", "C", "D") if outputs == 5 else ()
    assert found.described(findings=names).findings == (names or FINDINGS)
    if outputs == 5:
        with pytest.raises(UserError, match="a classifier of 5 outputs") as error:
            found.described()
        assert error.value.argument == "findings"


def test_one_channel_and_18_outputs_are_of_torchxrayvision(tmp_path):
    head = Baseline(num_classes=18, pooling="average", transition="none")
    model = Classifier(DENSENET, head, Pixels(mean=(0.5,), std=(1 / 2048,)))
    named = foreign(model, "", "classifier")[1]
    trained = read_foreign(saved(tmp_path, named)).described()
    assert trained.model == model
    assert (trained.image_size, trained.square) == (224, "crop")
    assert trained.findings[::17] == ("Atelectasis", "Enlarged Cardiomediastinum")
    thresholds = np.where(np.arange(18) == 0, 0.25, np.nan).astype(np.float32)
    found = read_foreign(saved(tmp_path, named | {"op_threshs": thresholds}))
    trained = found.described()
    assert trained.named_findings == ("Atelectasis",)
    table = operating_points(trained.findings, found.thresholds)["operating_points.csv"]
    assert table == "finding,group,rule,threshold\nAtelectasis,All,youden,0.25\n"


def test_layers_are_never_left_out_in_silence(tmp_path, caplog):
    model = Classifier(DENSENET, Baseline(pooling="average", transition="none"))
    named = foreign(model, "module.", "classifier")[1]
    path = saved(tmp_path, named)
    kept = load_classifier(path, Classifier(DENSENET, SpaceAttention()))
    assert set(kept["params"]) == {"backbone"}
    assert "its classifier of 14 outputs is left out" in caplog.text
    two = named | {"module.hidden.weight": np.zeros((3, 3)), "module.hidden.bias": np.zeros(3)}
    with pytest.raises(UserError, match=r"hidden\.weight is not a parameter"):
        read_foreign(saved(tmp_path, two))
    imagenet = named | {"module.classifier.weight": np.zeros((1000, 8), np.float32)}
    assert read_foreign(saved(tmp_path, imagenet)).head is None
    assert "ImageNet's classifier of 1000 classes is left out" in caplog.text
    own = saved(tmp_path, to_torch(drawn(Classifier(DENSENET, Baseline())), "DenseNet121"))
    assert read_foreign(own).head is None
    assert "its head is left out, as names do not show which one it is" in caplog.text
    own = saved(tmp_path, to_torch(drawn(Classifier(DENSENET, LogSumExp())), "DenseNet121"))
    assert read_foreign(own).head == PCAM()
    assert "its head is read as PCAM; LogSumExp has arrays of the same names" in caplog.text


def test_messages_about_other_networks_give_ten_names_and_the_cause(tmp_path):
    named = backbone_file(DENSENET, drawn(DENSENET))
    with pytest.raises(UserError, match="it looks like DenseNet121") as error:
        load_classifier(saved(tmp_path, named), MODEL)
    assert len(str(error.value).splitlines()) == 12
    vit = {f"vit.{name}": array for name, array in named.items() if "denseblock" in name}
    with pytest.raises(UserError, match=r"all its names begin with vit\.") as error:
        load_classifier(saved(tmp_path, vit), MODEL)
    with pytest.raises(UserError, match=r"first names are vit\.") as error:
        read_foreign(saved(tmp_path, vit))


def test_names_of_jfhealthcare_are_read_and_written(tmp_path):
    model = Classifier(DENSENET, PCAM(num_classes=5))
    variables = drawn(model)
    theirs = to_jfhealthcare(to_torch(variables, "DenseNet121"))
    assert theirs["fc_4.weight"].shape == (1, 8, 1, 1)
    assert theirs["fc_4.bias"].shape == (1,)
    assert "backbone.features.norm5.bias" in theirs
    theirs["bn_0.weight"] = theirs["backbone.classifier.bias"] = np.zeros(5, np.float32)
    theirs = {f"module.{name}": array for name, array in theirs.items()}
    assert_same(load_classifier(saved(tmp_path, theirs), model), variables)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.safetensors", None, "is not a file"),
        ("weights.safetensors", b"not one", "not a complete safetensors file"),
        ("weights.npz", b"PK", r"ends in \.safetensors, \.pth"),
    ],
)
def test_files_that_cannot_be_read(name, content, message, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_torch_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_written_file_is_pytorchs(tmp_path):
    path = saved(tmp_path, {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T})
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == {"format": "pt"}
        np.testing.assert_array_equal(file.get_tensor("a.weight"), [[0, 3], [1, 4], [2, 5]])
    with pytest.raises(UserError, match=r"end its name in \.safetensors"):
        write_torch_file(tmp_path / "weights.npz", {})
