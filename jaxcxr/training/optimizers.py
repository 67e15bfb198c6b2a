"""Optimizers whose schedules are in epochs, as in papers, and how they become Optax' own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcxr.errors import UserError
from jaxcxr.models.ops.normalization import in_part
from jaxcxr.training.devices import made_once

_MAX_INT32 = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2014) with PyTorch's constants: b1 0.9, b2 0.999, eps 1e-8.

    Attributes:
        learning_rate: Step size of the first epoch.
        weight_decay: Added to the gradient times the parameter before Adam's scaling, as PyTorch's
            `Adam` does (L2 regularization, not decoupled).
        drop_every: Number of epochs after which the learning rate is multiplied by `drop_factor`,
            repeatedly; None keeps it constant. The paper's space attention drops every 20.
        drop_factor: What the learning rate is multiplied by at each drop.
        cosine: Whether the learning rate falls along half a cosine to zero at the last epoch
            (Loshchilov and Hutter 2017), in place of drops.
        warmup_epochs: Epochs over which the learning rate rises from zero before all else.
        decoupled: Whether the decay is AdamW's (Loshchilov and Hutter 2019): learning rate times
            `weight_decay` times the parameter, taken off after Adam's scaling.
        clip_norm: Gradients with a larger global norm are scaled down to it; None never.
    """

    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    drop_every: int | None = None
    drop_factor: float = 0.1
    cosine: bool = False
    warmup_epochs: float = 0.0
    decoupled: bool = False
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "drop_factor"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}; it must be above 0 and finite")
        for name in ("weight_decay", "warmup_epochs"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(
                    f"{name} is {getattr(self, name)}; it must be 0 or more, and finite"
                )
        if self.drop_every is not None and self.drop_every < 1:
            raise UserError(f"drop_every is {self.drop_every}; it must be 1 epoch or more, or None")
        if self.cosine and self.drop_every is not None:
            raise UserError("cosine and drop_every are two schedules; set one of them")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise UserError(f"clip_norm is {self.clip_norm}; it must be above 0, or None")

    def schedule(self, steps_per_epoch: int, epochs: int) -> optax.Schedule:
        """Returns the learning rate as a function of the number of steps done.

        Raises:
            UserError: The warm-up does not end before the training.
        """
        if self.warmup_epochs >= epochs:
            raise UserError(
                f"warmup_epochs is {self.warmup_epochs}; it must be below the {epochs} epochs"
            )
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        after = self._after_warmup(steps_per_epoch, epochs * steps_per_epoch - warmup_steps)
        if warmup_steps == 0:
            return after
        rise = optax.linear_schedule(0.0, self.learning_rate, warmup_steps)
        return optax.join_schedules([rise, after], [warmup_steps])

    def _after_warmup(self, steps_per_epoch: int, steps: int) -> optax.Schedule:
        if self.cosine:
            return optax.cosine_decay_schedule(self.learning_rate, max(steps, 1))
        if self.drop_every is None:
            return optax.constant_schedule(self.learning_rate)
        steps_per_drop = min(self.drop_every * steps_per_epoch, _MAX_INT32)

        def staircase(count: Any) -> jax.Array:
            # Integers: a quotient of floats is below the epoch's number at some epochs' first step.
            return self.learning_rate * jnp.power(self.drop_factor, count // steps_per_drop)

        return staircase

    def transformation(self, steps_per_epoch: int, epochs: int) -> optax.GradientTransformation:
        """Returns the Optax transformation."""
        decay = optax.add_decayed_weights(self.weight_decay)
        return optax.chain(
            optax.identity()
            if self.clip_norm is None
            else optax.clip_by_global_norm(self.clip_norm),
            optax.identity() if self.decoupled else decay,
            optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
            decay if self.decoupled else optax.identity(),
            optax.scale_by_learning_rate(self.schedule(steps_per_epoch, epochs)),
        )


adam = Adam
"""`jaxcxr.adam(1e-4, weight_decay=1e-4)` reads like Optax; `Adam` like Keras."""


Optimizer = Adam | optax.GradientTransformation | Callable[[int, int], optax.GradientTransformation]
"""`Adam`, any Optax transformation, or a function (steps_per_epoch, epochs) → transformation."""


@made_once
def build_transformation(
    optimizer: Optimizer, steps_per_epoch: int, epochs: int, frozen: tuple[str, ...] = ()
) -> optax.GradientTransformation:
    """Returns the Optax transformation of an optimizer.

    Args:
        optimizer: See `Optimizer`. A transformation that reads the loss, such as Optax'
            `reduce_on_plateau`, gets that of the batch as `value`.
        steps_per_epoch: Number of steps per epoch.
        epochs: Number of epochs that the training may last.
        frozen: Paths of parts ("backbone", "backbone/stage1") whose parameters keep their values.

    Raises:
        UserError: `optimizer` is something else.
    """
    if isinstance(optimizer, Adam):
        transformation = optimizer.transformation(steps_per_epoch, epochs)
    elif isinstance(optimizer, optax.MultiSteps):
        transformation = optimizer.gradient_transformation()
    elif isinstance(optimizer, optax.GradientTransformation):
        transformation = optimizer
    else:
        transformation = optimizer(steps_per_epoch, epochs) if callable(optimizer) else None
    if not isinstance(transformation, optax.GradientTransformation):
        raise UserError(
            f"optimizer is {optimizer!r:.80}; expected jaxcxr.Adam, an Optax transformation, or a "
            "function (steps_per_epoch, epochs) that returns one",
            argument="optimizer",
        )
    if not frozen:
        return transformation

    def part(path: tuple[Any, ...], _: jax.Array) -> str:
        return "frozen" if in_part((key.key for key in path), frozen) else "trained"

    return optax.multi_transform(
        {"trained": transformation, "frozen": optax.set_to_zero()},
        lambda params: jax.tree_util.tree_map_with_path(part, params),
    )


def learning_rate(
    optimizer: Optimizer, opt_state: optax.OptState, step: int, steps_per_epoch: int, epochs: int
) -> float | None:
    """Returns the learning rate of a step, where it is known.

    It is for `Adam`, and for a transformation made with `optax.inject_hyperparams`.

    Args:
        optimizer: See `Optimizer`.
        opt_state: State of its transformation.
        step: Number of steps done before.
        steps_per_epoch: Number of steps per epoch.
        epochs: Number of epochs that the training may last.
    """
    if isinstance(optimizer, Adam):
        return float(np.asarray(optimizer.schedule(steps_per_epoch, epochs)(step)))
    try:
        rate: Any = optax.tree_utils.tree_get(opt_state, "learning_rate")
    except KeyError:  # there are several
        return None
    return None if rate is None else float(rate)


def optimizer_settings(optimizer: Optimizer) -> dict[str, Any]:
    """Returns the settings by which a resumed training recognizes its optimizer."""
    if isinstance(optimizer, Adam):
        return {"function": "jaxcxr.Adam", **dataclasses.asdict(optimizer)}
    return {"function": "given"}
