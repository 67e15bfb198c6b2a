"""The same weights give the same numbers here and in PyTorch, forward and backward."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is an extra: make test-torch installs it")

from torch.nn.functional import logsigmoid  # noqa: E402

from jaxcxr.models import Mode, build_classifier, normalize  # noqa: E402
from jaxcxr.models.weights.pretrained import load_classifier, to_torch  # noqa: E402
from jaxcxr.models.weights.torch_files import write_torch_file  # noqa: E402
from jaxcxr.training.losses import weighted_cross_entropy  # noqa: E402
from tests.torch import networks  # noqa: E402
from tests.torch.cases import AUTHORS, CASES, COMPILE_QUICKLY, PAIRS, batch  # noqa: E402

FULL_SIZE = {
    "baseline": (networks.Baseline, {}, 21_554_510),
    "space_attention": (networks.SpaceAttention, {}, 21_299_022),
    "attention_gated": (networks.AttentionGated, {}, 21_782_608),
    "attention_gated_deep_sup": (networks.AttentionGated, {"aggregation": "deep_sup"}, 21_795_194),
}


def pair(config, tmp_path):
    """Returns a randomized network of PyTorch's and ours with its weights."""
    network = networks.build(config)
    networks.randomize(network, seed=1)
    path = tmp_path / "network.safetensors"
    state = {name: tensor.numpy() for name, tensor in networks.state_dict(network).items()}
    write_torch_file(path, state)
    model = build_classifier(config)
    return network, model, load_classifier(path, model)


def nchw(images):
    return torch.from_numpy(np.array(normalize(images)).transpose(0, 3, 1, 2))


def torch_loss(logits, labels):
    """Equation (1) in float64, with ln p and ln(1 - p) from the logits."""
    logits, labels = logits.double(), torch.from_numpy(labels).bool()
    total, positives = labels.numel(), labels.sum()
    positive = -logsigmoid(logits[labels]).sum() * total / positives
    negative = -logsigmoid(-logits[~labels]).sum() * total / (total - positives)
    return (positive + negative) / len(labels)


def assert_close(ours, theirs, limit, name=""):
    difference = np.abs(np.asarray(ours) - theirs).max()
    assert difference < limit, f"{name} differs by {difference}"


@pytest.mark.parametrize("config", PAIRS.values(), ids=PAIRS)
def test_logits_and_heat_maps_agree(config, tmp_path):
    network, model, variables = pair(config, tmp_path)
    images, _ = batch()
    with torch.no_grad():
        logits, heatmaps = network.eval()(nchw(images))
    ours = jax.jit(model.apply, compiler_options=COMPILE_QUICKLY)(variables, normalize(images))
    assert ours.heatmaps.std() > 0.01
    assert_close(ours.logits, logits.numpy(), 1e-4)
    assert_close(jax.nn.sigmoid(ours.logits), torch.sigmoid(logits).numpy(), 1e-5)
    assert_close(ours.heatmaps, heatmaps.numpy().transpose(0, 2, 3, 1), 1e-4)


@pytest.mark.parametrize("train", [False, True], ids=["running", "batch"])
@pytest.mark.parametrize("config", (CASES | AUTHORS).values(), ids=CASES | AUTHORS)
def test_gradients_agree_for_every_parameter(config, train, tmp_path):
    network, model, variables = pair(config, tmp_path)
    images, labels = batch()
    network.train(train)
    torch_loss(network(nchw(images))[0], labels).backward()
    theirs = {name.removeprefix("backbone."): p.grad for name, p in network.named_parameters()}

    def loss(params):
        prediction, updated = model.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            normalize(images),
            Mode(train=train),
            mutable=["batch_stats"],
        )
        return weighted_cross_entropy(prediction.logits, labels), updated["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True), compiler_options=COMPILE_QUICKLY)(
        variables["params"]
    )
    backbone = config["backbone"]["name"]
    named = to_torch({"params": gradients}, backbone)
    total = np.linalg.norm([np.linalg.norm(gradient) for gradient in named.values()])
    for name, gradient in named.items():
        expected = theirs[name].numpy()
        # What a norm undoes (a bias, or another norm's scale) has no gradient but rounding.
        allowed = 1e-3 * np.linalg.norm(expected) + 1e-5 * total
        assert np.linalg.norm(gradient - expected) < allowed, name
    state = networks.state_dict(network)
    for name, array in to_torch({"batch_stats": statistics}, backbone).items():
        assert_close(array, state[name].numpy(), 1e-4, name)


def test_the_authors_window_of_7_on_maps_of_8(tmp_path):
    head = {"name": "SpaceAttention", "window": 7}
    config = {"backbone": CASES["resnet34_baseline"]["backbone"], "head": head}
    network, model, variables = pair(config, tmp_path)
    images, _ = batch(256)
    with torch.no_grad():
        logits, heatmaps = network.eval()(nchw(images))
    ours = model.apply(variables, normalize(images))
    assert ours.heatmaps.shape == (2, 8, 8, 14)
    assert_close(ours.logits, logits.numpy(), 1e-4)
    assert_close(ours.heatmaps, heatmaps.numpy().transpose(0, 2, 3, 1), 1e-4)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_parameter_counts(name):
    head, fields, expected = FULL_SIZE[name]
    with torch.device("meta"):
        resnet = networks.BACKBONES["ResNet34"]()
        count = sum(p.numel() for p in head(resnet.channels, **fields).parameters())
    count += sum(p.numel() for name, p in resnet.named_parameters() if not name.startswith("fc."))
    assert sum(p.numel() for p in resnet.parameters()) == 21_797_672
    assert count == expected
