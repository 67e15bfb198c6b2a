import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr.errors import UserError
from jaxcxr.models import (
    PCAM,
    AttentionGated,
    Baseline,
    Classifier,
    DenseNet121,
    LogSumExp,
    Mode,
    Pixels,
    Pylon,
    ResNet18,
    ResNet34,
    ResNet50,
    SpaceAttention,
    SqueezeExcitation,
    backbones,
    build_classifier,
    classifier_config,
    heads,
)
from jaxcxr.training.state import count_parameters


def shapes(module, size=256, dtype=jnp.float32, **call):
    images = jax.ShapeDtypeStruct((2, size, size, 3), dtype)
    variables = jax.eval_shape(module.init, jax.random.key(0), images)
    return variables, jax.eval_shape(lambda v, x: module.apply(v, x, **call), variables, images)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Classifier(ResNet34(), Baseline()), 21_554_510),
        (Classifier(ResNet34(), SpaceAttention()), 21_299_022),
        (Classifier(ResNet34(), AttentionGated()), 21_782_608),
        # The three classifiers per scale beside the concatenating one, as the authors save them.
        (Classifier(ResNet34(), AttentionGated(aggregation="deep_sup")), 21_795_194),
        # torchvision's counts with 1000 ImageNet classes, less their dense layer.
        (ResNet18(), 11_689_512 - 513_000),
        (ResNet34(), 21_797_672 - 513_000),
        (ResNet50(), 25_557_032 - 2_049_000),
        (DenseNet121(), 7_978_856 - 1_025_000),
    ],
    ids=str,
)
def test_parameter_counts_are_the_papers_and_torchvisions(network, expected):
    variables, _ = shapes(network, 64)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == expected


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        (ResNet34(), (64, 128, 256, 512)),
        (ResNet50(), (256, 512, 1024, 2048)),
        (DenseNet121(), (256, 512, 1024, 1024)),
    ],
)
def test_backbones_return_the_maps_of_every_stage(backbone, channels):
    _, stages = shapes(backbone)
    expected = [(2, 256 >> n, 256 >> n, c) for n, c in zip(range(2, 6), channels, strict=True)]
    assert [stage.shape for stage in stages] == expected


SMALL = {
    "ResNet18": ResNet18(blocks=(1, 1, 1, 1), width=4),
    "ResNet50": ResNet50(blocks=(1, 1, 1, 1), width=4),
    "DenseNet121": DenseNet121(blocks=(1, 1, 1, 1), width=4, growth=4),
}
HEADS_AND_MAP_SIZES = {
    "baseline": (Baseline(), 4),
    "baseline_deconvolution": (Baseline(transition="deconvolution"), 16),
    "space_attention": (SpaceAttention(), 4),
    "space_attention_window": (SpaceAttention(window=3), 4),
    "attention_gated": (AttentionGated(aggregation="ft"), 16),
    "squeeze_excitation": (SqueezeExcitation(), 4),
    "pcam": (PCAM(), 4),
    "log_sum_exp": (LogSumExp(stride=16, learned="shared"), 8),
    "log_sum_exp_refined": (LogSumExp(stride=8, decoder="refined"), 16),
    "pylon": (Pylon(), 32),
}


@pytest.mark.parametrize("head", HEADS_AND_MAP_SIZES)
@pytest.mark.parametrize("backbone", SMALL)
def test_any_head_on_any_backbone(backbone, head):
    head, size = HEADS_AND_MAP_SIZES[head]
    variables, prediction = shapes(Classifier(SMALL[backbone], head), 128)
    assert set(variables) == {"params", "batch_stats"}
    assert set(variables["params"]) == {"backbone", "head"}
    assert prediction.logits.shape == (2, 14)
    assert prediction.heatmaps.shape == (2, size, size, 14)


@pytest.mark.parametrize("head", HEADS_AND_MAP_SIZES)
def test_layers_compute_in_the_dtype_of_their_input_but_logits_are_float32(head):
    model = Classifier(SMALL["ResNet18"], HEADS_AND_MAP_SIZES[head][0])
    call = {"mode": Mode(train=True), "mutable": ["batch_stats"]}
    variables, (prediction, updated) = shapes(model, 64, jnp.bfloat16, **call)
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {jnp.dtype("float32")}
    probabilities = model.heatmaps_are_probabilities
    assert prediction.heatmaps.dtype == (jnp.float32 if probabilities else jnp.bfloat16)
    assert prediction.logits.dtype == jnp.float32


def test_stages_of_the_strides_that_are_asked_for():
    backbone = ResNet34(output_stride=8)
    assert [grid.stride for grid in backbone.grids] == [4, 8, 8, 8]
    _, stages = shapes(backbone)
    assert [stage.shape[1:] for stage in stages] == [
        (64, 64, 64), (32, 32, 128), (32, 32, 256), (32, 32, 512),
    ]  # fmt: skip
    assert Classifier(backbone, PCAM()).heatmap_grid.stride == 8
    with pytest.raises(UserError, match=r"stride is 16.*strides 4, 8; use"):
        Classifier(backbone, PCAM(stride=16))


@pytest.mark.parametrize("kind", [ResNet18, ResNet50])
def test_a_dilated_backbone_computes_the_same_features_at_more_places(kind):
    images = jax.random.normal(jax.random.key(0), (1, 72, 72, 3))
    strided = kind(blocks=(1, 1, 2, 2), width=4)
    variables = jax.jit(strided.init)(jax.random.key(1), images)
    dilated = strided.clone(output_stride=8)
    ours, theirs = (jax.jit(each.apply)(variables, images) for each in (dilated, strided))
    for stage, step in enumerate((1, 1, 2, 4)):
        assert theirs[stage].std() > 0.01
        np.testing.assert_allclose(ours[stage][:, ::step, ::step], theirs[stage], atol=1e-4)


def test_sizes_that_do_not_divide_by_32():
    for backbone, (head, _) in itertools.product(SMALL.values(), HEADS_AND_MAP_SIZES.values()):
        _, prediction = shapes(Classifier(backbone, head), 75)
        assert prediction.logits.shape == (2, 14)


@pytest.mark.parametrize("head", HEADS_AND_MAP_SIZES)
def test_a_config_builds_the_same_classifier_again_even_through_json(head):
    model = Classifier(SMALL["DenseNet121"], HEADS_AND_MAP_SIZES[head][0])
    config = classifier_config(model)
    assert build_classifier(json.loads(json.dumps(config))) == model


@pytest.mark.parametrize(
    ("backbone", "head", "message"),
    [
        ({"name": "ResNet35"}, {"name": "Baseline"}, ["'ResNet35'", *backbones()]),
        ({"name": "ResNet34"}, {"name": "Base"}, ["'Base'", *heads(), "import the module"]),
        ({"name": "ResNet34"}, {}, ["model.head.name", *heads()]),
        ({"name": "ResNet34", "depth": 3}, {"name": "Baseline"}, ["depth", "blocks", "width"]),
        ({"name": "ResNet34"}, {"name": "Baseline", "pooling": "sum"}, ["'sum'", "max_average"]),
        ({"name": "ResNet34"}, {"name": "AttentionGated", "aggregation": 1}, ["1", "deep_sup"]),
    ],
)
def test_unknown_names_fields_and_values_are_refused_with_the_choices(backbone, head, message):
    with pytest.raises(UserError) as error:
        build_classifier({"backbone": backbone, "head": head})
    assert "\n" not in str(error.value)
    for part in message:
        assert part in str(error.value)


def test_pixels_set_the_scale_and_the_channels_of_the_input():
    pixels = Pixels(mean=(0.5,), std=(1 / 2048,))
    resnet, head = ResNet18(blocks=(1,), width=2), Baseline(num_classes=18)
    model = Classifier(resnet, head, pixels)
    gray = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(np.ravel(model.normalize(gray)), [-1024, -614.4, 1024], rtol=1e-6)
    in_color = Classifier(resnet, head)
    assert count_parameters(in_color, 64) - count_parameters(model, 64) == 2 * 7 * 7 * 2
    assert build_classifier(json.loads(json.dumps(classifier_config(model)))) == model
    with pytest.raises(UserError, match="one channel or three"):
        Pixels(mean=(0.5, 0.5), std=(1, 1))
