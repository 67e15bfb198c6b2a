"""Where the radiographs are changes how fast a training is, not what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.training import feeding
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.devices import device_mesh, shard_batch
from jaxcxr.training.objective import COMPUTE_DTYPES, Objective
from jaxcxr.training.state import create_state, initial_variables
from jaxcxr.training.steps import TrainStep, make_train_step
from tests.tiny import make_split

STEPS = 5


def train(model, placement, *callbacks, split=None, **settings):
    return cxr.fit(
        model,
        split or make_split(16 * STEPS + 3),
        validation_data=make_split(20, seed=1),
        **{
            "epochs": 2,
            "batch_size": 16,
            "optimizer": cxr.adam(1e-3),
            "verbose": False,
            **settings,
        },
        augmentation=Augmentation(horizontal_flip=True),
        ema_decay=0.8,
        callbacks=callbacks,
        data_placement=placement,
    )


@pytest.fixture(scope="module")
def streamed(tiny_model):
    return train(tiny_model, "streamed")


@pytest.mark.parametrize("placement", ["host", "device"])
def test_each_placement_learns_the_same(tiny_model, streamed, placement):
    run = train(tiny_model, placement)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(run.history[name], streamed.history[name], rtol=1e-4)
    for ours, theirs in zip(
        *map(jax.tree.leaves, (run.variables, streamed.variables)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_devices_gather_the_same_batches_bit_for_bit():
    """The step is one that returns the batch it was given."""
    split, mesh = make_split(16 * STEPS + 3), device_mesh()
    feed = feeding.resident(lambda state, batch: (state, batch), split, 16, 3, mesh)
    gathered = [feed.step(jnp.zeros(()), rows)[1] for rows, _ in feed.batches(4, 1)]
    expected = list(split.batches(16, seed=3, epoch=4, start_batch=1))
    assert len(gathered) == len(expected) == STEPS - 1
    for ours, theirs in zip(gathered, expected, strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_interrupted_resident_epoch_resumes_with_the_same_bits(tiny_model, tmp_path):
    class Leave(cxr.Callback):
        asked = 0

        def interruption(self):
            self.asked += 1
            return "a test" if self.asked == 3 else None

    whole = train(tiny_model, "device")
    left = train(tiny_model, "device", cxr.BackupAndRestore(tmp_path), Leave())
    assert left.interrupted == "a test"
    assert left.unfinished.steps == 2
    run = train(tiny_model, "device", cxr.BackupAndRestore(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, run.variables, whole.variables)
    assert run.history["loss"] == whole.history["loss"]


def test_data_of_ones_own_is_streamed(tiny_model):
    class Own:
        num_images, image_size = 48, 16

        def batches(self, *args, **kwargs):
            return make_split(48).batches(*args, **kwargs)

    with pytest.raises(cxr.UserError, match=r"Own has no in_memory\(\)"):
        train(tiny_model, "device", split=Own())


def test_radiographs_that_a_device_cannot_hold_are_refused():
    class Device:
        device_kind = "small"

        def memory_stats(self):
            return {"bytes_limit": 1000}

    class Mesh:
        local_devices = (Device(),)

    with pytest.raises(cxr.UserError, match=r'32 radiographs.*"host"'):
        feeding.put_on_devices(make_split(32), Mesh())


def test_bfloat16_is_of_the_layers_alone(tiny_model):
    """Parameters, statistics, loss, gradients and what the optimizer keeps stay float32."""
    split, mesh = make_split(16), device_mesh()
    batch = shard_batch(next(split.batches(16)), mesh)
    adam = cxr.adam(1e-3).transformation(1, 1)
    losses = {}
    for dtype in COMPUTE_DTYPES:
        state = create_state(initial_variables(tiny_model, 16, seed=0), adam)
        objective = Objective(tiny_model, compute_dtype=dtype)
        step = make_train_step(TrainStep(objective, adam), mesh)
        text = step.lower(state, batch).as_text()
        assert ("bf16" in text) == (dtype == "bfloat16")
        state, losses[dtype] = step(state, batch)
        floats = [x.dtype for x in jax.tree.leaves(state) if np.issubdtype(x.dtype, np.floating)]
        assert set(floats) == {np.dtype("float32")}
        assert losses[dtype].dtype == np.float32
    assert losses["bfloat16"] != losses["float32"]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.02)


@pytest.mark.parametrize("head", [cxr.Baseline(), cxr.SpaceAttention(), cxr.AttentionGated()])
def test_every_convolution_of_a_bfloat16_network_is_one_on_a_gpu(head):
    model = cxr.Classifier(cxr.ResNet18(width=4, blocks=(1, 1, 1)), head)
    objective = Objective(model, compute_dtype="bfloat16")
    variables = jax.eval_shape(lambda: initial_variables(model, 32, seed=0))
    images = objective.images(None, {"image": np.zeros((2, 32, 32, 1), np.uint8)})
    traced = jax.jit(model.apply).trace(variables, images)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert convolutions
    findings = model.head.num_classes  # the convolution that gives logits is in float32
    layers = [line for line in convolutions if f"x{findings}xf32>" not in line]
    assert len(layers) >= len(convolutions) - 1
    assert all(line.rstrip().endswith("bf16>") for line in layers)


def test_trains_in_bfloat16(tiny_model):
    run = train(tiny_model, "device", compute_dtype="bfloat16", epochs=4)
    assert run.history["loss"][-1] < run.history["loss"][0]
