"""Ends `jaxcxr train --import=benchmarks/first_step.py` when its first step is done."""

import os
from typing import NoReturn

import jax

from jaxcxr.training.loop import StepLosses


def stop(_: StepLosses, loss: jax.Array, *__: object) -> NoReturn:
    """Waits for a step and ends the process."""
    loss.block_until_ready()
    os._exit(0)


StepLosses.add = stop
