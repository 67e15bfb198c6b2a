"""The number of inputs of a campaign, and what a refusal may look like."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, currently_in_test_context, event, settings

from jaxcxr.errors import UserError

INPUTS = int(os.environ.get("FUZZ_INPUTS", 600))
"""Inputs of all the fuzz tests together; `make torture` gives 20,000."""

LONGEST_REFUSAL = 10_000
"""Characters that a person can read; a long line of a file must not be repeated."""

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


def read_or_refuse(read: Callable[[], Any], names: str) -> Any:
    """Returns what `read` returns, None where it raises a UserError that is as it should be.

    Args:
        read: Reads an input; every exception other than a UserError fails the test.
        names: What a refusal has to name: the file, or the setting.
    """
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
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
