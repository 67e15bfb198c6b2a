import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.special import logit

import jaxcxr as cxr
from jaxcxr.inference.gradcam import grad_cam
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import Mode, build_classifier, classifier_config, normalize
from jaxcxr.models.weights.pretrained import initialize, to_torch
from jaxcxr.models.weights.torch_files import write_torch_file
from jaxcxr.training.state import initial_variables

BACKBONE = cxr.ResNet18(blocks=(1, 1), width=4)
ENSEMBLE = cxr.MultiSize(BACKBONE, cxr.Baseline(), sizes=(32, 64))
SIZE = 64


@pytest.fixture(scope="module")
def variables():
    return initial_variables(ENSEMBLE, SIZE, seed=1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 1), np.uint8)


def alone(variables, images, size):
    """What the member of one size gives by itself."""
    part = {name: parts[f"size_{size}"] for name, parts in variables.items()}
    seen = jax.image.resize(normalize(images), (3, size, size, 3), "linear")
    return cxr.Classifier(BACKBONE, cxr.Baseline()).apply(part, seen)


def test_averages_probabilities_and_heat_maps(variables, images):
    together = ENSEMBLE.apply(variables, normalize(images))
    small, large = (alone(variables, images, size) for size in (32, 64))
    mean = np.mean([jax.nn.sigmoid(small.logits), jax.nn.sigmoid(large.logits)], axis=0)
    np.testing.assert_allclose(together.logits, logit(mean), atol=1e-5)

    def scaled(heatmaps, size):
        """Samples every fourth pixel; cells are 8 pixels of the member's own image apart."""
        seen = (4 * np.arange(SIZE // 4) + 0.5) * size / SIZE - 0.5
        points = np.meshgrid(range(3), seen / 8, seen / 8, range(14), indexing="ij")
        sampled = ndimage.map_coordinates(np.asarray(heatmaps), points, order=1, mode="nearest")
        low, high = sampled.min((1, 2), keepdims=True), sampled.max((1, 2), keepdims=True)
        return (sampled - low) / (high - low)

    expected = (scaled(small.heatmaps, 32) + scaled(large.heatmaps, 64)) / 2
    np.testing.assert_allclose(together.heatmaps, expected, atol=1e-5)


def test_sows_each_members_logits(variables, images):
    _, sown = ENSEMBLE.apply(variables, normalize(images), mutable=["side_logits"])
    for size, logits in zip((32, 64), sown["side_logits"]["logits"], strict=True):
        np.testing.assert_allclose(logits, alone(variables, images, size).logits, atol=1e-5)


def test_a_part_of_one_member_can_be_frozen(variables, images):
    mode = Mode(train=True, frozen=("size_32/backbone",))
    _, updated = ENSEMBLE.apply(variables, normalize(images), mode, mutable=["batch_stats"])
    for name, moved in (("size_32", False), ("size_64", True)):
        before, after = (
            jax.tree.leaves(stats["batch_stats"][name]["backbone"])[0]
            for stats in (variables, updated)
        )
        assert np.array_equal(before, after) != moved


def test_config_and_back():
    config = classifier_config(ENSEMBLE)
    assert config["sizes"] == (32, 64)
    assert build_classifier({**config, "sizes": [32, 64]}) == ENSEMBLE
    assert type(build_classifier({**config, "sizes": []})) is cxr.Classifier


def test_every_member_starts_from_the_same_file(variables, tmp_path):
    one = cxr.Classifier(BACKBONE, cxr.Baseline())
    trained = initial_variables(one, SIZE, seed=7)
    write_torch_file(tmp_path / "one.safetensors", to_torch(trained, "ResNet18"))
    started = initialize(ENSEMBLE, variables, tmp_path / "one.safetensors")
    for size in (32, 64):
        part = {name: parts[f"size_{size}"] for name, parts in started.items()}
        jax.tree.map(np.testing.assert_array_equal, part, trained)


def test_every_member_goes_to_pytorch(variables):
    state = to_torch(variables, "ResNet18")
    stem = variables["params"]["size_64"]["backbone"]["conv1"]["kernel"]
    np.testing.assert_array_equal(state["size_64.conv1.weight"], np.transpose(stem, (3, 2, 0, 1)))
    assert sum(name.endswith("head.classifier.weight") for name in state) == 2


def test_grad_cam_of_an_ensemble_is_refused(variables):
    with pytest.raises(cxr.UserError, match="one for each size"):
        grad_cam(Predictor(ENSEMBLE, variables, SIZE))


def test_trains(images):
    labels = np.eye(14, dtype=np.uint8)[np.arange(8) % 14]
    split = cxr.ArraySplit(np.repeat(images, 3, axis=0)[:8], labels)
    run = cxr.fit(ENSEMBLE, split, epochs=1, batch_size=4, verbose=False)
    assert jnp.isfinite(run.history["loss"][0])
