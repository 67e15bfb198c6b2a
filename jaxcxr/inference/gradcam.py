"""Heat maps from gradients, for any stage of any network: Grad-CAM, Grad-CAM++ and LayerCAM.

Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
localization"; Chattopadhyay et al. 2018, "Grad-CAM++: improved visual explanations for deep
convolutional networks"; Jiang et al. 2021, "LayerCAM: exploring hierarchical class activation maps
for localization".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.inference.heatmaps import HeatMaps, PredictFn
from jaxcxr.inference.predictor import Predictor
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
    return _explain(predictor, stage, lambda _, gradients: gradients.mean((1, 2), keepdims=True))


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
    return _explain(predictor, stage, _shares)


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
    explained = [
        _explain(predictor, stage, lambda _, gradients: jax.nn.relu(gradients))
        for stage in (sorted(set(stages)) or [None])
    ]
    if len(explained) == 1:
        return explained[0]

    def predict(images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        predictions = [explain(images) for explain in explained]
        probabilities, (finest, grid) = predictions[0]
        fused = np.zeros_like(finest)
        for _, (values, own_grid) in predictions:
            greatest = values.max(axis=(1, 2), keepdims=True)
            scaled = np.tanh(2 * values / np.where(greatest > 0, greatest, 1))
            sampled = resample(jnp.asarray(scaled), own_grid, grid, finest.shape[1:3])
            fused = np.maximum(fused, np.asarray(sampled))
        return probabilities, HeatMaps(fused, grid)

    return predict


def _shares(features: jax.Array, gradients: jax.Array) -> jax.Array:
    # Equation 19's g² / (2g² + ΣA·g³), divided by g², whose smallest would underflow.
    divisor = 2 + features.sum((1, 2), keepdims=True) * gradients
    shares = jax.nn.relu(gradients) / jnp.where(divisor == 0, 1, divisor)
    return shares.sum((1, 2), keepdims=True)


def _explain(predictor: Predictor, stage: int | None, weigh: Weigh) -> PredictFn:
    index = _stage_index(predictor.model, stage)
    grid = predictor.model.backbone.grids[index]
    trained = predictor.trained_outputs
    probe = nn.apply(_shifted_logits, predictor.model)

    @jax.jit
    def explain(variables: Variables, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        def logits_of(shift: jax.Array) -> tuple[jax.Array, jax.Array]:
            return probe(variables, predictor.model.normalize(images), shift, index)

        features = jax.eval_shape(logits_of, jnp.zeros(()))[1]
        logits, pull_back, features = jax.vjp(
            logits_of, jnp.zeros(features.shape, features.dtype), has_aux=True
        )

        def heatmap_of(finding: jax.Array) -> jax.Array:
            (gradients,) = pull_back(jnp.broadcast_to(finding, logits.shape))
            return (features * weigh(features, gradients)).sum(-1)

        # One finding after the other: all backward passes at once would fill the memory.
        weighted = jax.lax.map(heatmap_of, jnp.eye(logits.shape[-1], dtype=logits.dtype)[trained])
        heatmaps = jnp.moveaxis(jax.nn.relu(weighted), 0, -1)
        return jax.nn.sigmoid(logits[:, trained]), heatmaps

    def predict(images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        probabilities, heatmaps = explain(predictor.variables, jnp.asarray(images))
        return np.asarray(probabilities), HeatMaps(np.asarray(heatmaps), grid)

    return predict


def _stage_index(model: Classifier, stage: int | None) -> int:
    count = len(classifier_config(model)["backbone"]["blocks"])
    if stage is not None and not 1 <= stage <= count:
        raise UserError(f"stage is {stage}; this network's backbone has stages 1 to {count}")
    return (count if stage is None else stage) - 1


def _shifted_logits(
    classifier: Classifier, images: jax.Array, shift: jax.Array, index: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the logits with `shift` added to a stage's feature maps, and these feature maps."""
    features = shift

    def link(stage: int, before: jax.Array, after: jax.Array, mode: Mode) -> jax.Array:
        nonlocal features
        handed_on = classifier.link(stage, before, after, mode)
        if stage != index:
            return handed_on
        features = handed_on
        return features + shift

    prediction = classifier.read(classifier.backbone(images, INFERENCE, link))
    return prediction.logits, features
