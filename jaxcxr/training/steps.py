"""The jitted training steps, written for one device and mapped over all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxcxr.training.devices import (
    BY_ROWS,
    EVERYWHERE,
    Batch,
    made_once,
    map_over_devices,
)
from jaxcxr.training.objective import Objective, trained_gradients
from jaxcxr.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """What one device does in a step: (state, rows of the batch) → (next state, loss).

    The loss, the statistics of batch norm and the gradients are those of the global batch: one
    device and eight give the same numbers. Where the loss, a gradient or a statistic is not finite,
    the step is skipped: the state is unchanged and the loss is NaN.

    Attributes:
        objective: The network and its loss.
        transformation: Turns gradients into updates.
        ema_decay: Share of the moving average that each step keeps, where the state has one.
    """

    objective: Objective
    transformation: optax.GradientTransformation
    ema_decay: float = 0.0

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        """Does the step; to be called under the mapped axis `DEVICES`."""
        total, gradients, batch_stats = self.objective.with_gradients(state, batch)

        def advance(state: TrainState) -> TrainState:
            updates, opt_state = optax.with_extra_args_support(self.transformation).update(
                gradients, state.opt_state, state.params, value=total
            )
            state = state.replace(
                step=state.step + 1,
                params=optax.apply_updates(state.params, updates),
                batch_stats=batch_stats,
                opt_state=opt_state,
            )
            if state.average is None:
                return state
            average = jax.tree.map(self._averaged, state.average, state.variables)
            return state.replace(average=average)

        # One number represents all: it is finite where each is, and where the squares of the
        # gradients, which Adam keeps, are.
        numbers = (total, trained_gradients(gradients, self.objective.frozen), batch_stats)
        squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(numbers)]
        finite = jnp.isfinite(jnp.stack(squares).sum())
        return _advance_if(finite, advance, state), jnp.where(finite, total, jnp.nan)

    def _averaged(self, old: jax.Array, new: jax.Array) -> jax.Array:
        return old + (1 - self.ema_decay) * (new - old)  # exactly `old` where `new` equals it


@made_once
def make_train_step(
    step: TrainStep, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
    """Returns the jitted step (state, global batch) → (next state, loss) over all devices.

    The state's memory is reused (donated).
    """
    return map_over_devices(step, mesh, (EVERYWHERE, BY_ROWS), donate=0)


@made_once
def make_gathering_step(
    step: TrainStep, mesh: Mesh
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, jax.Array]]:
    """Returns the jitted step (state, radiographs, rows) → (next state, loss) over all devices.

    Every device holds `image` (N, S, S, 1) and `labels` (N, K) of the radiographs completely, and
    gathers its share of the global batch's rows (B,). The state's memory is reused (donated).
    """

    def device_step(
        state: TrainState, radiographs: Batch, rows: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        batch = {
            name: array.at[rows].get(mode="promise_in_bounds")
            for name, array in radiographs.items()
        }
        return step(state, {**batch, "mask": jnp.ones(len(rows), bool)})

    return map_over_devices(device_step, mesh, (EVERYWHERE, EVERYWHERE, BY_ROWS), donate=0)


def _advance_if(
    finite: jax.Array, advance: Callable[[TrainState], TrainState], state: TrainState
) -> TrainState:
    """Returns the advanced state where `finite`, else the state as it is.

    A branch leaves the arithmetic of `advance` unchanged to the last bit, but on an accelerator the
    host would have to wait at it in every step; so there both states are computed.
    """

    def branch(state: TrainState) -> TrainState:
        return jax.lax.cond(finite, advance, lambda state: state, state)

    def select(state: TrainState) -> TrainState:
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), advance(state), state)

    return jax.lax.platform_dependent(state, cpu=branch, default=select)
