"""Networks of common operations alone, for runtimes other than JAX.

What makes training fast or its gradients right, such as the convolutions of
`jaxcxr.models.ops.cpu`, is written out in many small operations that depend on the size of a batch.
Other runtimes compute the common operation faster, for batches of any size.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

_PORTABLE = contextvars.ContextVar("portable", default=False)


@contextmanager
def portable_operations() -> Iterator[None]:
    """Makes networks that are traced inside of the block use common operations alone.

    A function that was jitted and called before keeps the operations it was traced with.
    """
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def is_portable() -> bool:
    """Returns whether a network is being traced for another runtime."""
    return _PORTABLE.get()
