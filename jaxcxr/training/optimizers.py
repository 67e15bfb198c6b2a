"""Optimizers told in epochs, as papers tell them, which `fit` turns into Optax transformations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import optax

from jaxcxr.errors import UserError
from jaxcxr.models.ops.normalization import in_part


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2014) with PyTorch's constants: b1 0.9, b2 0.999, eps 1e-8.

    Attributes:
        learning_rate: Step size of the first epoch.
        weight_decay: Added to the gradient times the parameter before Adam's scaling, as PyTorch's
            `Adam` does (L2 regularisation, not decoupled).
        drop_every: Number of epochs after which the learning rate is multiplied by `drop_factor`,
            again and again; None keeps it constant. The paper's space attention drops every 20.
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
        return optax.exponential_decay(
            self.learning_rate,
            transition_steps=self.drop_every * steps_per_epoch,
            decay_rate=self.drop_factor,
            staircase=True,
        )

    def transformation(
        self, steps_per_epoch: int, epochs: int, frozen: Sequence[str] = ()
    ) -> optax.GradientTransformation:
        """Returns the Optax transformation; parameters under a path in `frozen` never move."""
        decay = optax.add_decayed_weights(self.weight_decay)
        adam = optax.chain(
            optax.identity()
            if self.clip_norm is None
            else optax.clip_by_global_norm(self.clip_norm),
            optax.identity() if self.decoupled else decay,
            optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
            decay if self.decoupled else optax.identity(),
            optax.scale_by_learning_rate(self.schedule(steps_per_epoch, epochs)),
        )
        if not frozen:
            return adam

        def part(path: tuple[Any, ...], _: jax.Array) -> str:
            return "frozen" if in_part((key.key for key in path), frozen) else "trained"

        return optax.multi_transform(
            {"trained": adam, "frozen": optax.set_to_zero()},
            lambda params: jax.tree_util.tree_map_with_path(part, params),
        )


adam = Adam
"""`jaxcxr.adam(1e-4, weight_decay=1e-4)` reads like Optax; `Adam` like Keras."""
