"""What Ctrl-C does to a launch program.

While its packages load there is nothing to save and nobody to catch an exception, so importing this
module has Ctrl-C end the process at once and without a word. Where the work begins it raises
KeyboardInterrupt, as Python has it. A process that was started deaf to it stays so.
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


_replace(signal.default_int_handler, signal.SIG_DFL)
