import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from PIL import Image
from scipy.ndimage import map_coordinates

from jaxcxr.cli.box_flags import HeatMapChoice, maps_and_rule
from jaxcxr.evaluation.box_tuning import CUTS, choose_cuts, write_box_rule
from jaxcxr.images.grid import Grid
from jaxcxr.inference.heatmaps import HeatMaps, size_averaged
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models import Classifier, ResNet18, SpaceAttention

SIZE = 32
CHOICES = [
    HeatMapChoice("network", size_factors=(1.25,)),
    HeatMapChoice("grad_cam", (2,), flip=True, size_factors=(1, 0.75)),
    HeatMapChoice("layer_cam", (1, 3), size_factors=(1, 1.25, 1.5)),
]


@pytest.fixture(scope="module")
def predictor():
    model = Classifier(ResNet18(blocks=(1, 1, 1), width=4), SpaceAttention())
    variables = jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, SIZE, SIZE, 3)))
    return Predictor(model, variables, SIZE)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_programs_take_the_heat_maps_that_the_rule_names(choice, predictor, tmp_path):
    table = choose_cuts(np.array(["Mass"]), np.zeros((1, len(CUTS))), CUTS)
    write_box_rule(table.assign(scale="range"), str(choice), "x", tmp_path / "box_rule.csv")
    flags.FLAGS.mark_as_parsed()
    assert maps_and_rule(dataclasses.replace(predictor, folder=tmp_path))[0] == choice


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_size_averaging_is_the_mean_at_every_point(choice, predictor):
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 1), np.uint8)
    probabilities, (values, grid) = choice.predict_fn(predictor)(images)
    points = grid.first_center + grid.stride * np.arange(values.shape[1])
    expected = []
    for factor in choice.size_factors:
        size = int(SIZE * factor)
        seen = [Image.fromarray(image).resize((size, size), 2) for image in images[..., 0]]
        own_predictor = dataclasses.replace(predictor, image_size=size)
        predict = choice._replace(size_factors=()).predict_fn(own_predictor)
        _, (maps, own_grid) = predict(np.stack([np.asarray(image) for image in seen])[..., None])
        cells = ((points + 0.5) * factor - 0.5 - own_grid.first_center) / own_grid.stride
        at = np.meshgrid(cells, cells, indexing="ij")
        planes = np.moveaxis(maps, -1, 1).reshape(-1, *maps.shape[1:3])
        drawn = [map_coordinates(plane, at, order=1, mode="nearest") for plane in planes]
        expected.append(np.moveaxis(np.reshape(drawn, (2, 14, *at[0].shape)), 1, -1))
    np.testing.assert_allclose(values, np.mean(expected, axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(probabilities, predictor(images)[0])


def test_averaged_heat_maps_leave_the_probabilities_that_are_calibrated(predictor):
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 1), np.uint8)
    probabilities, (heatmaps, _) = HeatMapChoice(flip=True).predict_fn(predictor)(images)
    np.testing.assert_array_equal(probabilities, predictor(images)[0])
    assert not np.array_equal(heatmaps, predictor(images)[1].values)


def test_size_averaging_keeps_the_place():
    """A network whose cells are every fourth pixel, which shows bright pixels as hot."""

    def predict(images):
        maps = np.repeat(images[:, 2::4, 2::4], 14, axis=-1).astype(np.float32)
        return np.zeros((len(images), 14)), HeatMaps(maps, Grid(2, 4))

    images = np.zeros((1, 64, 64, 1), np.uint8)
    images[0, 20:29, 40:49] = 255  # around row 24 and column 44
    values, grid = size_averaged(dict.fromkeys((64, 80, 96), predict))(images)[1]
    heat = values[0, :, :, 0]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    centers = grid.centers(len(heat))
    weights = heat / heat.sum()
    assert abs(centers[row] - 24) < 4
    assert abs(centers[column] - 44) < 4
    assert (weights.sum(1) @ centers, weights.sum(0) @ centers) == pytest.approx((24, 44), abs=0.5)
