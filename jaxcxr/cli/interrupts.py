"""What Ctrl-C does to a program.

While the packages load there is nothing to save and nobody to catch an exception, so
`end_at_once` makes Ctrl-C end the process immediately and without output. Where the work begins,
`raised` makes it raise KeyboardInterrupt, as Python does. A process that was started with SIGINT
ignored keeps ignoring it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _replace(handler: Any, other: Any) -> None:
    if signal.getsignal(signal.SIGINT) is handler:
        signal.signal(signal.SIGINT, other)


@contextmanager
def raised() -> Iterator[None]:
    """Has Ctrl-C raise KeyboardInterrupt while the block runs."""
    _replace(signal.SIG_DFL, signal.default_int_handler)
    try:
        yield
    finally:
        _replace(signal.default_int_handler, signal.SIG_DFL)


def end_at_once() -> None:
    """Makes Ctrl-C end the process without an exception."""
    _replace(signal.default_int_handler, signal.SIG_DFL)
