"""Heat maps from gradients, for any stage of any network: Grad-CAM, Grad-CAM++ and LayerCAM.

Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
localization"; Chattopadhyay et al. 2018, "Grad-CAM++: improved visual explanations for deep
convolutional networks"; Jiang et al. 2021, "LayerCAM: exploring hierarchical class activation maps
for localization".
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.images.grid import Grid
from jaxcxr.inference.heatmaps import HeatMaps, PredictFn
from jaxcxr.inference.predictor import Predictor
from jaxcxr.inference.spreading import spread_over_devices
from jaxcxr.models import (
    INFERENCE,
    Classifier,
    Mode,
    classifier_config,
)
from jaxcxr.models.geometry import resample
from jaxcxr.training.state import Variables

Weigh = Callable[[jax.Array, jax.Array], jax.Array]
"""Feature maps (B, h, w, C) and a logit's gradients by them (B, h, w, C) to weights of the feature
maps (B, 1, 1, C), or of each of their positions (B, h, w, C)."""


def grad_cam(predictor: Predictor, stage: int | None = None) -> PredictFn:
    """Returns `predictor` with Grad-CAM in place of the network's own heat maps.

    A feature map weighs as much as the mean of the logit's gradients over it; the heat map is the
    positive part of the weighted sum (Selvaraju et al. 2017, equations 1 and 2), on the stage's
    grid.

    Args:
        predictor: A trained network.
        stage: The backbone's stage whose feature maps are weighed, from 1; None is the last.

    Raises:
        UserError: The backbone has no such stage.
    """
    return _explain(predictor, [stage], lambda _, gradients: gradients.mean((1, 2), keepdims=True))


def grad_cam_plus_plus(predictor: Predictor, stage: int | None = None) -> PredictFn:
    """Returns `predictor` with Grad-CAM++ in place of the network's own heat maps.

    A feature map weighs as much as the sum of the positive gradients over it, each position by its
    own share (Chattopadhyay et al. 2018, equations 5, 10 and 19, for the exponential of the logit,
    whose scale is left out).

    Args:
        predictor: A trained network.
        stage: The backbone's stage whose feature maps are weighed, from 1; None is the last.

    Raises:
        UserError: The backbone has no such stage.
    """
    return _explain(predictor, [stage], _shares)


def layer_cam(predictor: Predictor, stages: Sequence[int] = ()) -> PredictFn:
    """Returns `predictor` with LayerCAM in place of the network's own heat maps.

    Each position of a feature map weighs as much as the positive part of the logit's gradient there
    (Jiang et al. 2021, equations 5 to 7). The maps of several stages, each scaled to
    tanh(2 M / max M), are sampled on the grid of the first of them; the greatest counts. (Jiang et
    al. scale shallow stages only.)

    Args:
        predictor: A trained network.
        stages: The backbone's stages, from 1; default: the last.

    Raises:
        UserError: The backbone has no such stage.
    """
    chosen = sorted(set(stages)) or [None]
    return _explain(predictor, chosen, lambda _, gradients: jax.nn.relu(gradients))


def _greatest(heatmaps: Sequence[jax.Array], grids: Sequence[Grid]) -> jax.Array:
    """Returns the greatest of scaled heat maps on the grid of the first."""
    fused = jnp.zeros_like(heatmaps[0])
    for values, grid in zip(heatmaps, grids, strict=True):
        greatest = values.max(axis=(1, 2), keepdims=True)
        scaled = jnp.tanh(2 * values / jnp.where(greatest > 0, greatest, 1))
        fused = jnp.maximum(fused, resample(scaled, grid, grids[0], fused.shape[1:3]))
    return fused


def _shares(features: jax.Array, gradients: jax.Array) -> jax.Array:
    # Equation 19's g² / (2g² + ΣA·g³), divided by g², whose smallest would underflow.
    divisor = 2 + features.sum((1, 2), keepdims=True) * gradients
    shares = jax.nn.relu(gradients) / jnp.where(divisor == 0, 1, divisor)
    return shares.sum((1, 2), keepdims=True)


def _explain(predictor: Predictor, stages: Sequence[int | None], weigh: Weigh) -> PredictFn:
    model, trained = predictor.model, predictor.trained_outputs
    chosen = [_stage_index(model, stage) for stage in stages]
    grids = [model.backbone.grids[index] for index in chosen]

    def explain(variables: Variables, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        images = model.normalize(images)
        maps = jax.eval_shape(nn.apply(_stage_maps, model), variables, images, {})
        shifts = {index: jnp.zeros(maps[index].shape, maps[index].dtype) for index in chosen}
        logits, pull_back, maps = jax.vjp(
            functools.partial(nn.apply(_shifted_logits, model), variables, images),
            shifts,
            has_aux=True,
        )

        def heatmaps_of(finding: jax.Array) -> list[jax.Array]:
            (gradients,) = pull_back(jnp.broadcast_to(finding, logits.shape))
            return [
                (maps[index] * weigh(maps[index], gradients[index])).sum(-1) for index in chosen
            ]

        # One finding after the other: all backward passes at once would fill the memory.
        weighted = jax.lax.map(heatmaps_of, jnp.eye(logits.shape[-1], dtype=logits.dtype)[trained])
        heatmaps = [jnp.moveaxis(jax.nn.relu(one), 0, -1) for one in weighted]
        fused = _greatest(heatmaps, grids) if len(heatmaps) > 1 else heatmaps[0]
        return jax.nn.sigmoid(logits[:, trained]), fused

    compiled = spread_over_devices(explain)

    def predict(images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        predictor.check_images(images)
        probabilities, heatmaps = compiled(predictor.variables, images)
        return probabilities, HeatMaps(heatmaps, grids[0])

    return predict


def _stage_index(model: Classifier, stage: int | None) -> int:
    count = len(classifier_config(model)["backbone"]["blocks"])
    if stage is not None and not 1 <= stage <= count:
        raise UserError(f"stage is {stage}; this network's backbone has stages 1 to {count}")
    return (count if stage is None else stage) - 1


def _stage_maps(
    classifier: Classifier, images: jax.Array, shifts: Mapping[int, jax.Array]
) -> tuple[jax.Array, ...]:
    """Returns the feature maps of every stage, with the shifts of some added."""

    def link(stage: int, before: jax.Array, after: jax.Array, mode: Mode) -> jax.Array:
        handed_on = classifier.link(stage, before, after, mode)
        return handed_on + shifts[stage] if stage in shifts else handed_on

    return classifier.backbone(images, INFERENCE, link)


def _shifted_logits(
    classifier: Classifier, images: jax.Array, shifts: Mapping[int, jax.Array]
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    maps = _stage_maps(classifier, images, shifts)
    return classifier.read(maps).logits, maps
