"""What each head says of itself, checked against its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp

from jaxcxr.models import (
    PCAM,
    AttentionGated,
    Baseline,
    LogSumExp,
    Pylon,
    SpaceAttention,
    SqueezeExcitation,
    heads,
)
from jaxcxr.models.geometry import Grid
from jaxcxr.models.heads.head import mean_probability
from jaxcxr.models.ops.pooling import log_sum_exp
from tests.torch.cases import COMPILE_QUICKLY

RANDOM = np.random.default_rng(0)
STAGES = [
    RANDOM.normal(size=(2, size, size, channels)).astype(np.float32)
    for size, channels in ((16, 4), (8, 4), (4, 6), (2, 8))
]
GRIDS = [Grid(0.0, 4.0 * 2**stage) for stage in range(4)]


def drawn(head, stages=STAGES):
    """Returns random variables of a head, drawn without compiling it, and what it predicts."""
    init = functools.partial(head.init, method="read")
    shapes = jax.eval_shape(lambda key: init(key, stages, GRIDS), jax.random.key(0))
    variables = jax.tree.map(
        lambda leaf: RANDOM.uniform(-0.5, 0.5, leaf.shape).astype(np.float32), dict(shapes)
    )
    for statistics in jax.tree.leaves(variables.get("batch_stats", {})):
        statistics += 1  # variances are above zero
    return variables, jax.tree.map(np.asarray, applied(head, variables, stages))


def applied(head, variables, stages=STAGES):
    @functools.partial(jax.jit, compiler_options=COMPILE_QUICKLY)
    def apply(variables, stages):
        return head.apply(variables, stages, GRIDS, method="read")

    return apply(variables, stages)


def side_logits(head, variables):
    sown = head.apply(variables, STAGES, GRIDS, method="read", mutable=["side_logits"])[1]
    return sown["side_logits"]["logits"]


def close(a, b, tolerance=1e-4):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_log_sum_exp_goes_from_average_to_maximum_and_never_overflows():
    x = STAGES[-1]
    close(log_sum_exp(x, 1e-3, 4), x.mean((1, 2)), 1e-2)
    close(log_sum_exp(1e4 * x, 1e3, 4), 1e4 * x.max((1, 2)))


def pooled(head, params, maps):
    """Returns the logits (B, classes) of maps of logits by the poolings' definitions."""
    if isinstance(head, Pylon):
        return maps.max((1, 2))
    probabilities = expit(maps)
    weighted = (probabilities * maps).sum((1, 2)) / probabilities.sum((1, 2))
    if isinstance(head, PCAM):
        return weighted
    r = head.r0 + np.exp(params.get("beta", 0))
    return logsumexp(r * maps, axis=(1, 2), b=1 / maps[0, ..., 0].size) / r


def test_defaults_are_those_of_the_papers():
    fields = [(Baseline(), "lse_r", 10), (LogSumExp(), "r0", 2), (PCAM(), "width", 64)]
    fields += [(Pylon(), "stride", 4), (Pylon(), "width", 128)]
    assert [getattr(head, name) for head, name, _ in fields] == [value for *_, value in fields]
    assert {head().num_classes for head in heads().values()} == {14}


POOLED = [
    PCAM(),
    LogSumExp(),
    LogSumExp(learned="shared", r0=5.0),
    LogSumExp(learned="per_finding"),
    Pylon(stride=None),
]


@pytest.mark.parametrize("head", POOLED)
def test_maps_of_logits_are_pooled_and_their_probabilities_are_the_heat_maps(head):
    variables, (logits, heatmaps) = drawn(head)
    params = variables["params"]
    maps = STAGES[-1] @ params["conv"]["kernel"][0, 0] + params["conv"]["bias"]
    close(heatmaps, expit(maps))
    close(logits, pooled(head, params, maps))


@pytest.mark.parametrize("head", POOLED)
def test_pooling_of_extreme_logits_is_finite_and_so_are_its_gradients(head):
    variables, _ = drawn(head)
    conv = {"kernel": np.eye(14, dtype=np.float32)[None, None], "bias": np.zeros(14, np.float32)}
    params = variables["params"] | {"conv": conv}
    rows = [np.full((1, 1, 3, 14), value, np.float32) for value in (-1e4, -100, 0, 100, 1e4)]
    maps = np.concatenate(rows, 1)

    @jax.value_and_grad
    def total(arguments):
        return head.apply(
            {"params": arguments[0]}, [arguments[1]], GRIDS, method="read"
        ).logits.sum()

    for part in (maps, maps[:, :1], maps[:, :2], maps[:, 3:]):
        value, gradients = total((params, part))
        low, high, rounding = part.min(), part.max(), 1e-6 * np.abs(part).max()
        assert low - rounding <= value / 14 <= high + rounding
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_pylon_on_a_map_of_one_position():
    stages = [stage[:, : 2 >> n or 1, : 2 >> n or 1] for n, stage in enumerate(STAGES)]
    _, (logits, heatmaps) = drawn(Pylon(width=2), stages)
    assert np.isfinite(logits).all()
    assert heatmaps.shape == (2, 2, 2, 14)


@pytest.mark.parametrize("window", [None, 2, 3])
def test_space_attention_reads_context_and_features(window):
    stages = [RANDOM.normal(size=(2, 4, 4, 8)).astype(np.float32)]
    variables, (logits, heatmaps) = drawn(SpaceAttention(window=window), stages)
    conv = variables["params"]["conv"]
    for row, column in np.ndindex(4, 4):
        if window is None:
            context = stages[0].mean((1, 2))
        else:
            # 4 - window + 1 windows along each side, each standing for its share of positions.
            count = 5 - window
            top, left = row * count // 4, column * count // 4
            context = stages[0][:, top : top + window, left : left + window].mean((1, 2))
        both = np.concatenate([context, stages[0][:, row, column]], 1)
        close(heatmaps[:, row, column], both @ conv["kernel"][0, 0] + conv["bias"])
    close(logits, heatmaps.mean((1, 2)))


def test_a_window_larger_than_the_map_is_the_whole_map():
    variables, whole = drawn(SpaceAttention())
    close(applied(SpaceAttention(window=7), variables).heatmaps, whole.heatmaps)


@pytest.mark.parametrize("aggregation", ["mean", "deep_sup", "ft"])
def test_attention_gated_averages_probabilities_as_the_authors_do(aggregation):
    head = AttentionGated(aggregation=aggregation, average="probabilities")
    variables, (logits, _) = drawn(head)
    params = variables["params"]
    supervised = AttentionGated(aggregation="deep_sup")
    joint = variables
    if aggregation != "deep_sup":  # whose side logits are those of the scales' classifiers
        classifier, _ = drawn(supervised)
        joint = variables | {"params": params | {"classifier": classifier["params"]["classifier"]}}
    sown = side_logits(supervised, joint)
    together, *apart = (expit(np.asarray(each, np.float64)) for each in sown)
    if aggregation == "ft":
        last = params["classifier"]
        expected = expit(np.concatenate(apart, 1) @ last["kernel"] + last["bias"])
    else:
        expected = np.mean([*apart, *[together] * (aggregation == "deep_sup")], 0)
    close(expit(logits), expected, 1e-5)


def test_mean_probability_is_finite_for_extreme_logits():
    logits = np.array([[800.0, -800, 3, 90], [700, -900, -3, -90]], np.float32)
    mean = np.asarray(mean_probability(logits))
    assert np.isfinite(mean).all()
    np.testing.assert_allclose(mean[2:], [0, 0], atol=1e-5)
    np.testing.assert_allclose(mean[:2], [700 + np.log(2), -800 - np.log(2)], rtol=1e-6)


@pytest.mark.parametrize(
    "head", [SpaceAttention(), SpaceAttention(window=1), SqueezeExcitation(), LogSumExp()]
)
def test_logits_of_bfloat16_features_have_the_digits_of_float32(head):
    variables, _ = drawn(head)
    features = [np.asarray(jnp.bfloat16(stage)) for stage in STAGES]
    rounded, exact = (
        applied(head, variables, [stage.astype(dtype) for stage in features])
        for dtype in ("bfloat16", "float32")
    )
    expected = np.float32 if head.heatmaps_are_probabilities else jnp.bfloat16
    assert rounded.heatmaps.dtype == expected
    np.testing.assert_allclose(rounded.logits, exact.logits, atol=1e-6)


def test_deep_supervision_hands_out_the_logits_of_all_four_classifiers():
    head = AttentionGated(aggregation="deep_sup")
    variables, prediction = drawn(head)
    side = side_logits(head, variables)
    assert len(side) == 4
    close(np.mean(side, axis=0), prediction.logits)
