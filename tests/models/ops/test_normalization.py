import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxcxr.models import INFERENCE, BatchNorm, Mode, normalize
from jaxcxr.models.ops.normalization import in_part

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(3.0, 2.0, (8, 5, 4, 3)).astype(np.float32)
VARIABLES = {
    "params": {"scale": np.array([1.0, 2.0, 0.5]), "bias": np.array([0.0, -1.0, 3.0])},
    "batch_stats": {"mean": np.array([1.0, 2.0, 3.0]), "var": np.array([1.0, 4.0, 0.25])},
}
VARIABLES = jax.tree.map(np.float32, VARIABLES)


def normalized(x, mean, var):
    scale, bias = VARIABLES["params"]["scale"], VARIABLES["params"]["bias"]
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def test_inference_uses_the_running_statistics():
    stats = VARIABLES["batch_stats"]
    y = BatchNorm().apply(VARIABLES, X, INFERENCE)
    np.testing.assert_allclose(y, normalized(X, stats["mean"], stats["var"]), rtol=1e-5, atol=1e-5)


def test_training_uses_the_batch_and_moves_the_statistics_by_a_tenth():
    y, updated = BatchNorm().apply(VARIABLES, X, Mode(train=True), mutable=["batch_stats"])
    flat = X.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(y, normalized(X, flat.mean(0), flat.var(0)), rtol=1e-4, atol=1e-4)
    before = VARIABLES["batch_stats"]
    mean = 0.9 * before["mean"] + 0.1 * flat.mean(0)
    var = 0.9 * before["var"] + 0.1 * flat.var(0, ddof=1)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], var, rtol=1e-6)


def test_a_batch_over_devices_has_the_statistics_of_the_whole_batch():
    def shard(x):
        mode = Mode(train=True, axis_name="devices")
        return BatchNorm().apply(VARIABLES, x, mode, mutable=["batch_stats"])

    whole, expected = BatchNorm().apply(VARIABLES, X, Mode(train=True), mutable=["batch_stats"])
    y, updated = jax.vmap(shard, axis_name="devices")(X.reshape(4, 2, 5, 4, 3))
    np.testing.assert_allclose(y.reshape(X.shape), whole, rtol=1e-5, atol=1e-5)
    for each, same in zip(jax.tree.leaves(updated), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(each, np.broadcast_to(same, (4, 3)), rtol=1e-6)


def test_one_value_per_channel_stays_finite():
    mode = Mode(train=True)
    y, updated = BatchNorm().apply(VARIABLES, X[:1, :1, :1], mode, mutable=["batch_stats"])
    assert np.isfinite(y).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updated))


def test_half_precision_in_gives_half_precision_out_and_float32_statistics():
    x = X.astype(jax.numpy.bfloat16)
    y, updated = BatchNorm().apply(VARIABLES, x, Mode(train=True), mutable=["batch_stats"])
    assert y.dtype == jax.numpy.bfloat16
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(updated))
    flat = X.reshape(-1, 3)
    np.testing.assert_allclose(
        updated["batch_stats"]["mean"],
        0.9 * VARIABLES["batch_stats"]["mean"] + 0.1 * flat.mean(0),
        rtol=1e-3,
    )


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("backbone", True),
        ("backbone/stage1", True),
        ("backbone/stage1_0", True),
        ("backbone/stage1_0/bn1", True),
        ("backbone/stage1_1", False),
        ("backbone/stage", False),
        ("back", False),
        ("head", False),
    ],
)
def test_in_part(part, expected):
    assert in_part(("backbone", "stage1_0", "bn1", "scale"), [part]) is expected


class Norms(nn.Module):
    """Batch norms at the places that they have in a network."""

    @nn.compact
    def __call__(self, x, mode):
        for name in ("bn1", "stage1_0", "stage1_1", "stage2_0"):
            x = BatchNorm(name=name)(x, mode)
        return x


def test_frozen_parts_keep_their_statistics_to_the_bit_and_others_do_not():
    variables = Norms().init(jax.random.key(0), X, INFERENCE)
    mode = Mode(train=True, frozen=("bn1", "stage1_1"))
    _, updated = Norms().apply(variables, X, mode, mutable=["batch_stats"])
    for name, before in variables["batch_stats"].items():
        after = updated["batch_stats"][name]
        same = jax.tree.all(jax.tree.map(np.array_equal, before, after))
        assert same == (name in ("bn1", "stage1_1")), name


def test_normalize_gives_three_channels_with_imagenets_mean_and_std():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
    expected = (np.array([0.0, 0.2, 1.0])[:, None] - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    result = normalize(images)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0, 0], expected, rtol=1e-5)
