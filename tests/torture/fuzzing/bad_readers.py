"""Readers that hang and die, to try the campaign itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.torture.fuzzing.trial import Trial


def hang(rng: np.random.Generator, folder: Path) -> Trial:
    def read() -> None:
        while True:
            pass

    return Trial("hangs", read, limit_seconds=0.2)


def die(rng: np.random.Generator, folder: Path) -> Trial:
    return Trial("dies", lambda: os.kill(os.getpid(), signal.SIGKILL))


KINDS: dict[Callable[[np.random.Generator, Path], Trial], float] = {hang: 1, die: 1}
"""How each kind of input is made, and how often."""
