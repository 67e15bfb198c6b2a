"""Grad-CAM against closed forms and gradients taken in the plainest way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.images.grid import tiles
from jaxcxr.inference.gradcam import grad_cam, grad_cam_plus_plus, layer_cam
from jaxcxr.inference.heatmaps import HeatMaps, flip_averaged
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import (
    INFERENCE,
    AttentionGated,
    Baseline,
    Classifier,
    DenseNet121,
    ResNet18,
    SpaceAttention,
    SqueezeExcitation,
    normalize,
)
from jaxcxr.models.geometry import Grid

SIZE = 32

HEADS = {
    "max": Baseline(),
    "average": Baseline(pooling="average", transition="none"),
    "space_attention": SpaceAttention(),
    "attention_gated": AttentionGated(),
    "squeeze_excitation": SqueezeExcitation(),
}


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@functools.cache
def make_predictor(head):
    return predictor_of(Classifier(ResNet18(blocks=(1, 1, 1), width=4), HEADS[head]))


def predictor_of(model):
    variables = jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, SIZE, SIZE, 3)))
    return Predictor(model, variables, SIZE)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 1), np.uint8)


def plus_plus_weights(a, g):
    """Equation 19 as it is printed."""
    shares = g**2 / np.where(g == 0, 1, 2 * g**2 + a.sum((0, 1)) * g**3)
    return (shares * np.maximum(g, 0)).sum((0, 1))


WEIGHTS = {
    grad_cam: lambda a, g: g.mean((0, 1)),
    grad_cam_plus_plus: plus_plus_weights,
    layer_cam: lambda a, g: np.maximum(g, 0),
}


@pytest.mark.parametrize("name", HEADS)
def test_last_stage_of_every_head(images, name):
    """The gradients are those of the head alone, one image and one finding at a time."""
    predictor = make_predictor(name)

    def stages_of(classifier, x):
        return classifier.backbone(x, INFERENCE, classifier.link)

    def read(classifier, stages):
        return classifier.read(stages).logits[0]

    @functools.partial(jax.jit, static_argnums=2)
    def gradients_of(last, before, finding):
        return jax.grad(
            lambda x: nn.apply(read, predictor.model)(variables, [*before, x])[finding]
        )(last)

    variables = predictor.variables
    *before, last = jax.jit(nn.apply(stages_of, predictor.model))(variables, normalize(images))
    own_probabilities, _ = predictor(images)
    for explain, weigh in WEIGHTS.items():
        probabilities, heatmaps = explain(predictor)(images)
        np.testing.assert_allclose(probabilities, own_probabilities, atol=1e-6)
        assert heatmaps.values.shape == (*last.shape[:3], 14)
        assert heatmaps.grid == Grid(0, 16)
        for row in range(3):
            one = slice(row, row + 1)
            features = np.float64(last[row])
            gradients = gradients_of(last[one], [stage[one] for stage in before], 5)
            weights = weigh(features, np.float64(gradients[0]))
            expected = np.maximum((features * weights).sum(-1), 0)
            tolerance = 1e-4 * max(expected.max(), 1e-3)
            np.testing.assert_allclose(heatmaps.values[row, ..., 5], expected, atol=tolerance)


@pytest.mark.parametrize(
    "backbone", [ResNet18(blocks=(1, 1, 1), width=4), DenseNet121((1, 1), width=4, growth=4)]
)
def test_average_pooling_gives_class_activation_maps(images, backbone):
    """Selvaraju et al. 2017, section 3.1: Grad-CAM generalises class activation maps."""
    predictor = predictor_of(Classifier(backbone, HEADS["average"]))
    own = predictor.model.apply(predictor.variables, normalize(images)).heatmaps
    _, heatmaps = grad_cam(predictor)(images)
    expected = np.maximum(own, 0) / (own.shape[1] * own.shape[2])
    np.testing.assert_allclose(heatmaps.values, expected, atol=1e-6)
    assert heatmaps.grid == predictor.model.heatmap_grid


@pytest.mark.parametrize("stage", [1, 2])
def test_earlier_stages(images, stage):
    """The gradients are those of a shift that an interceptor adds to the stage's last block."""
    predictor = make_predictor("average")
    seen = []

    def shifted_logits(shift):
        def intercept(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if context.module.name != f"stage{stage}_0" or context.method_name != "__call__":
                return out
            seen.append(out)
            return out + shift

        with nn.intercept_methods(intercept):
            prediction = predictor.model.apply(predictor.variables, normalize(images[:1]))
        return prediction.logits[0, 3], seen.pop()

    shape = jax.eval_shape(shifted_logits, jnp.zeros(()))[1].shape
    gradients, features = jax.jit(jax.grad(shifted_logits, has_aux=True))(jnp.zeros(shape))
    expected = np.maximum((features * gradients.mean((1, 2), keepdims=True)).sum(-1), 0)
    _, heatmaps = grad_cam(predictor, stage)(images)
    np.testing.assert_allclose(heatmaps.values[0, ..., 3], expected[0], atol=1e-5 * expected.max())
    assert heatmaps.grid == Grid(0, 4 * stage)


def test_layer_cam_takes_the_greatest_of_several_stages(images):
    predictor = make_predictor("average")
    _, heatmaps = layer_cam(predictor, [3, 2])(images)
    parts = [layer_cam(predictor, [stage])(images)[1] for stage in (2, 3)]
    assert heatmaps.grid == parts[0].grid == Grid(0, 8)
    assert [part.values.shape[1] for part in parts] == [4, 2]
    expected = []
    for part in parts:
        greatest = part.values.max(axis=(1, 2), keepdims=True)
        expected.append(np.tanh(2 * part.values / np.where(greatest > 0, greatest, 1)))
    places = np.minimum([0, 0.5, 1, 1.5], 1)  # of stage 2's cells among stage 3's
    for x, y in np.ndindex(4, 4):
        left, right, top, bottom = (int(f(places[i])) for i in (x, y) for f in (np.floor, np.ceil))
        corners = expected[1][:, [top, top, bottom, bottom], [left, right, left, right]]
        coarse = corners.mean(axis=1)  # places are cells or halfway between them
        np.testing.assert_allclose(
            heatmaps.values[:, y, x], np.maximum(expected[0][:, y, x], coarse), atol=1e-5
        )


def test_unknown_stage():
    for stage in (0, 4):
        with pytest.raises(UserError, match=f"stage is {stage}; .* stages 1 to 3"):
            grad_cam(make_predictor("max"), stage)


def test_flip_averaging(images):
    predictor = make_predictor("space_attention")
    probabilities, heatmaps = flip_averaged(predictor)(images)
    mirrored, mirrored_heatmaps = flip_averaged(predictor)(np.ascontiguousarray(images[:, :, ::-1]))
    np.testing.assert_allclose(probabilities, mirrored, atol=1e-6)
    np.testing.assert_allclose(heatmaps.values, mirrored_heatmaps.values[:, :, ::-1], atol=1e-5)
    apart = [predictor(x)[0] for x in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(probabilities, np.mean(apart, axis=0), atol=1e-6)
    symmetric = np.maximum(images, images[:, :, ::-1])
    np.testing.assert_allclose(
        flip_averaged(predictor)(symmetric)[0], predictor(symmetric)[0], atol=1e-6
    )


@pytest.mark.parametrize(
    ("size", "grid", "points"),
    [(32, Grid(0, 16), 32), (32, tiles(32, 2), 2), (1024, Grid(0, 512), 256)],
)
def test_flip_averaging_puts_both_maps_where_their_cells_lie(size, grid, points):
    """The mirror image of a cell on column c of S lies on column S - 1 - c."""

    def network(images):
        maps = np.zeros((len(images), 2, 2, 14), np.float32)
        maps[:, 1, 1] = 1
        return np.zeros((len(images), 14)), HeatMaps(maps, grid)

    _, heatmaps = flip_averaged(network)(np.zeros((1, size, size, 1), np.uint8))
    assert heatmaps.values.shape == (1, points, points, 14)
    columns = heatmaps.grid.centers(points)
    own = np.interp(columns, grid.centers(2), [0, 1])
    mirrored = np.interp(columns, size - 1 - grid.centers(2)[::-1], [1, 0])
    np.testing.assert_allclose(heatmaps.values[0, -1, :, 0], (own + mirrored) / 2, atol=1e-6)
    assert heatmaps.values.dtype == np.float32


@pytest.mark.parametrize("wrong", [np.s_[:0], np.s_[:, : SIZE // 2]])
def test_images_of_another_shape_are_refused(images, wrong):
    with pytest.raises(UserError, match="this network takes uint8 or float32"):
        layer_cam(make_predictor("max"))(images[wrong])
