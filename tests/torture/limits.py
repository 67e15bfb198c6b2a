"""Reads one invalid file within limits, and the number of files of a campaign."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, currently_in_test_context, event, settings

from jaxcxr.errors import UserError

INPUTS = int(os.environ.get("FUZZ_INPUTS", 600))
"""Inputs of all the fuzz tests together; `make torture` gives 20,000."""

LONGEST_REFUSAL = 10_000
"""Characters that a person can read; a line of 10 MB of a file must not be repeated."""

MEGABYTES = 1000
HANGS = 300
"""Seconds by the clock after which the process is ended with a traceback."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def campaign(share: float) -> settings:
    """Returns the settings of a fuzz test that gets this share of the inputs.

    The inputs are the same in each `make test`. A campaign takes them from `--hypothesis-seed`.
    """
    return settings(
        max_examples=max(1, round(share * INPUTS)),
        derandomize="FUZZ_INPUTS" not in os.environ,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def read_or_refuse(read: Callable[[], Any], names: str, seconds: float = 5.0) -> Any:
    """Returns what `read` returns, None where it raises a UserError that is as it should be.

    Args:
        read: Reads an input; every exception other than a UserError fails the test.
        names: What a refusal has to name: the file, or the setting.
        seconds: The most processor time.
    """
    try:
        with (
            _limits(seconds),
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            content = read()
    except UserError as error:
        message = str(error)
        assert names in message, f"does not name {names}: {message[:500]}"
        assert len(message) <= LONGEST_REFUSAL, f"{len(message):,} characters: {message[:200]}"
        assert not _CONTROL.search(message), repr(message)
        content = None
    if currently_in_test_context():
        event("refused" if content is None else "accepted")
    return content


@contextlib.contextmanager
def _limits(seconds: float) -> Iterator[None]:
    """Fails where what is done inside takes too much time or memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the greatest memory
    memory, began = _megabytes(), time.process_time()
    faulthandler.dump_traceback_later(HANGS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        assert time.process_time() - began <= seconds, "out of its processor time"
        assert _megabytes() - memory <= MEGABYTES, "out of its memory"


def _megabytes() -> float:
    """Returns the greatest resident memory of this process; 0 on other systems than Linux."""
    with contextlib.suppress(OSError):
        match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(match[1]) / 1000 if match else 0
    return 0
