"""Validation: loss and metrics of the complete split."""

import math

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import jaxcxr as cxr
from jaxcxr.models import normalize
from jaxcxr.training.devices import device_mesh
from jaxcxr.training.losses import weighted_cross_entropy
from jaxcxr.training.state import initial_variables
from jaxcxr.training.validation import Validation, mean_auc
from tests.tiny import make_split
from tests.training.test_losses import equation_1


@pytest.mark.parametrize("batch_size", [4, 13, 32])
def test_loss_and_auc_are_those_of_the_complete_split(tiny_model, batch_size):
    """Whatever the batch size; the references are float64 NumPy and scikit-learn."""
    data = make_split(29)
    labels = data.labels.copy()
    labels[:, 3] = 0  # a finding without positives has no AUC
    data = cxr.ArraySplit(data.image, labels)
    variables = initial_variables(tiny_model, data.image_size, seed=0)
    validation = Validation(
        data, tiny_model, weighted_cross_entropy, {"auc": mean_auc}, batch_size, device_mesh()
    )
    scores, interrupted = validation(variables, lambda: None)
    logits = np.asarray(jax.jit(tiny_model.apply)(variables, normalize(data.image)).logits)
    assert interrupted is None
    assert scores.keys() == {"val_loss", "val_auc"}
    np.testing.assert_allclose(scores["val_loss"], equation_1(logits, labels), rtol=2e-6)
    others = [k for k in range(14) if k != 3]
    expected = np.mean([roc_auc_score(labels[:, k], logits[:, k]) for k in others])
    np.testing.assert_allclose(scores["val_auc"], expected, atol=1e-12)


def test_auc_is_nan_where_it_is_not_defined():
    labels = np.array([[1, 0], [1, 0]])
    assert math.isnan(mean_auc(np.zeros((2, 2)), labels))
    assert math.isnan(mean_auc(np.array([[np.nan], [1.0]]), np.array([[0], [1]])))


def test_metrics_are_in_the_history_and_can_be_monitored(tiny_model, capsys):
    def positives(logits, labels):
        return float((logits > 0).sum())

    run = cxr.fit(
        tiny_model,
        make_split(32),
        validation_data=make_split(20, seed=1),
        epochs=9,
        batch_size=16,
        metrics=["auc", positives],
        callbacks=[cxr.EarlyStopping(monitor="val_auc", patience=1, min_delta=0.9)],
    )
    assert len(run.history) == 2  # the first AUC is better than none, the second not by 0.9
    assert all(0 < value < 1 for value in run.history["val_auc"])
    assert all(value == int(value) for value in run.history["val_positives"])
    assert f"val_auc {run.history['val_auc'][0]:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["roc"], "metrics names 'roc'; expected auc, or a function"),
        ([3], "metrics names 3; expected auc, or a function"),
        (["auc", "auc"], "metrics has 'auc' twice"),
        ([], "EarlyStopping monitors 'val_auc'; the history will have loss, val_loss;"),
    ],
)
def test_unknown_metrics_are_refused_before_training(tiny_model, metrics, message):
    with pytest.raises(cxr.UserError, match=message):
        cxr.fit(
            tiny_model,
            make_split(32),
            validation_data=make_split(8),
            batch_size=16,
            metrics=metrics,
            callbacks=[cxr.EarlyStopping(monitor="val_auc")],
        )


def test_empty_validation_split_is_refused(tiny_model):
    class Empty:
        num_images, image_size = 0, 16

        def batches(self, *args, **kwargs):
            return iter(())

    with pytest.raises(cxr.UserError, match="the validation split holds no images"):
        cxr.fit(tiny_model, make_split(16), validation_data=Empty(), epochs=1, batch_size=16)
