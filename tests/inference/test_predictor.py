"""A network is rebuilt from config.json, which has no checksum."""

import json
from contextlib import closing

import jax
import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.errors import UserError
from jaxcxr.models import classifier_config
from jaxcxr.runs.checkpoints import Checkpoints
from jaxcxr.runs.workdir import claim_workdir
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History
from jaxcxr.training.state import create_state, initial_variables

NETWORK = cxr.Classifier(cxr.ResNet18(blocks=(1,), width=2), cxr.Baseline())


@pytest.fixture
def workdir(tmp_path):
    settings = {"model": classifier_config(NETWORK), "data": {"image_size": 16}}
    claim_workdir(tmp_path, settings)
    variables = initial_variables(NETWORK, 16, seed=0)
    state = create_state(variables, cxr.adam(1e-3).transformation(1, 1))
    with closing(Checkpoints(tmp_path)) as opened:
        opened.save(Progress(state, History(({"epoch": 1, "loss": 1.0},)), 1, settings))
    return tmp_path


def test_predictor_uses_the_best_epoch_and_not_the_last(tmp_path):
    settings = {"model": classifier_config(NETWORK), "data": {"image_size": 16}}
    claim_workdir(tmp_path, settings)
    history = History()
    with closing(Checkpoints(tmp_path)) as opened:
        for epoch, loss in enumerate([3.0, 1.0, 2.0], 1):
            history = history.with_epoch({"epoch": epoch, "loss": 5.0 - epoch, "val_loss": loss})
            variables = initial_variables(NETWORK, 16, seed=epoch)
            state = create_state(variables, cxr.adam(1e-3).transformation(1, 1))
            state = state.replace(step=jax.numpy.array(epoch))
            opened.save(Progress(state, history, 3, settings))
    predictor = cxr.Predictor.from_run(tmp_path)
    assert (predictor.model, predictor.epoch) == (NETWORK, 2)
    expected = cxr.Predictor(NETWORK, initial_variables(NETWORK, 16, seed=2), 16)
    radiograph = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(predictor(radiograph)[0], expected(radiograph)[0])
    others = [initial_variables(NETWORK, 16, seed=seed) for seed in (1, 3)]
    for variables in others:
        other = cxr.Predictor(NETWORK, variables, 16)
        assert (other(radiograph)[0] != expected(radiograph)[0]).any()


@pytest.mark.parametrize("part", ["backbone", "head"])
def test_outputs_that_are_not_finite_are_refused(part):
    variables = initial_variables(NETWORK, 16, seed=0)
    spoiled = jax.tree.map(lambda leaf: leaf * np.nan, variables["params"][part])
    variables = {**variables, "params": {**variables["params"], part: spoiled}}
    with pytest.raises(UserError, match="outputs are not finite numbers: its training diverged"):
        cxr.Predictor(NETWORK, variables, 16)(np.zeros((1, 16, 16, 1), np.uint8))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.head.pooling", "average"),
        ("model.head.lse_r", 11.0),
        ("data.image_size", 17),
        ("data.image_size", True),
        ("data.image_size", 10**30),
        ("data.image_size", 0),
        ("data.image_size", "x"),
        ("model.backbone.blocks", "x"),
        ("model.backbone.width", "x"),
        ("model", []),
        ("model.head", 3),
    ],
)
def test_another_config_is_refused(workdir, name, value):
    path = workdir / "config.json"
    config = json.loads(path.read_text())
    *parents, last = name.split(".")
    tree = config
    for parent in parents:
        tree = tree[parent]
    tree[last] = value
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.json|blocks|width"):
        cxr.Predictor.from_run(workdir)


def test_a_config_of_nonsense_is_refused(workdir):
    (workdir / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="is damaged"):
        cxr.Predictor.from_run(workdir)
