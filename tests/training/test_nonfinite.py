"""Steps whose numbers are not finite: skipped, counted, and in the end named."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.runs.checkpoints import Checkpoints
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History
from jaxcxr.training.losses import weighted_cross_entropy
from jaxcxr.training.state import create_state, initial_variables
from tests.tiny import make_split

BATCH, SIZE = 8, 16


@dataclasses.dataclass(frozen=True)
class Batches:
    """The same six batches in every epoch, some of them bad: all of their labels are ones."""

    bad: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    image_size: int = SIZE

    @property
    def num_images(self):
        return BATCH * (6 - len(self.left_out))

    def batches(self, batch_size, *, seed=None, epoch=0, start_batch=0, **_):
        kept = [
            {
                **batch,
                "labels": np.ones_like(batch["labels"]) if number in self.bad else batch["labels"],
                "image_name": np.array([f"{number}_{row}.png" for row in range(batch_size)]),
            }
            for number, batch in enumerate(make_split(BATCH * 6).batches(batch_size))
            if number not in self.left_out
        ]
        yield from kept[start_batch:]


def root_of_zero(logits):
    """Is 0; its gradient is not a number."""
    return jnp.sqrt(jnp.abs(logits - logits)).sum()


POISONS = {
    "loss not a number": lambda logits: jnp.nan,
    "loss infinite": lambda logits: jnp.inf,
    "gradients alone": root_of_zero,
}


def loss_with(poison):
    def loss(logits, labels, mask):
        usual = weighted_cross_entropy(logits, labels, mask)
        return jax.lax.cond(labels.all(), lambda: usual + poison(logits), lambda: usual)

    return loss


def train(model, data, *callbacks, **settings):
    return cxr.fit(
        model,
        data,
        **{
            "epochs": 1,
            "batch_size": BATCH,
            "optimizer": cxr.adam(1e-3),
            "loss": loss_with(POISONS["loss not a number"]),
            "ema_decay": 0.5,
            "verbose": False,
            "callbacks": callbacks,
            **settings,
        },
    )


@pytest.mark.parametrize("poison", POISONS)
def test_a_skipped_step_changes_nothing_and_is_counted(tiny_model, poison):
    loss = loss_with(POISONS[poison])
    run = train(tiny_model, Batches(bad=(2,)), loss=loss)
    without = train(tiny_model, Batches(left_out=(2,)), loss=loss)
    jax.tree.map(np.testing.assert_array_equal, run.variables, without.variables)
    assert run.history["skipped_steps"] == [1]
    assert without.history["skipped_steps"] == [0]
    np.testing.assert_allclose(run.history["loss"], without.history["loss"], rtol=1e-6)


def test_many_in_a_row_end_at_a_good_checkpoint_and_name_the_images(tiny_model, tmp_path):
    data = Batches(bad=(1, 3, 4))
    settings = {"nonfinite_patience": 2}
    message = r"step 5 of epoch 1 \(4_0\.png, .*4_7\.png\): .* in 2 steps in a row"
    for _ in range(2):  # given again, the command comes to the same end
        with pytest.raises(cxr.UserError, match=message):
            train(tiny_model, data, cxr.BackupAndRestore(tmp_path, every=1), **settings)
    good = train(tiny_model, Batches(left_out=(1, 3, 4, 5)))
    transformation = cxr.adam(1e-3).transformation(1, 1)
    variables = initial_variables(tiny_model, SIZE, seed=0)
    state = create_state(variables, transformation, averaged=True)
    restored = Checkpoints(tmp_path).restore_latest(Progress(state, History(), 1, {}))
    jax.tree.map(np.testing.assert_array_equal, restored.state.evaluated, good.variables)


def test_the_row_goes_on_over_the_end_of_an_epoch(tiny_model):
    data = Batches(bad=(0, 1, 5))
    with pytest.raises(cxr.UserError, match=r"step 2 of epoch 2 \(1_0\.png.* 3 steps in a row"):
        train(tiny_model, data, epochs=2, nonfinite_patience=3)
    run = train(tiny_model, data, epochs=2, nonfinite_patience=4)
    assert run.history["skipped_steps"] == [3, 3]
    run = train(tiny_model, Batches(bad=range(6)), nonfinite_patience=7)
    assert np.isnan(run.history["loss"]).all()
