"""One fuzzed input, and the verdict on what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxcxr.errors import UserError

LIMIT_MEMORY = 10**9
LONGEST_REFUSAL = 10_000
"""Characters that a person can read; a line of 10 MB of a file must not be repeated."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@dataclasses.dataclass(frozen=True)
class Trial:
    """An input, ready to be read.

    Attributes:
        kind: What was done to it.
        read: Reads it; returns the content or raises UserError.
        wrong: Returns what is wrong with accepted content, None where it is right. Where this is
            None, nothing may be accepted.
        must_accept: Whether a refusal is a failure.
        names: What a refusal has to name: the file, or the setting.
        limit_seconds: Processor time after which it counts as hanging.
    """

    kind: str
    read: Callable[[], Any]
    wrong: Callable[[Any], str | None] | None = None
    must_accept: bool = False
    names: str = ""
    limit_seconds: float = 5.0


class Verdict(NamedTuple):
    """What came of a trial: "accepted", "refused" or "failed", and why.

    The seconds are of processor time: a busy machine makes no input slow. The memory is the
    greatest resident memory of the process meanwhile, in bytes.
    """

    kind: str
    result: str
    why: str = ""
    seconds: float = 0.0
    memory: int = 0


def judge(trial: Trial) -> Verdict:
    """Reads an input and returns what came of it."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the kernel forgets the greatest memory so far
    began = time.process_time()
    result, why = _attempt(trial)
    seconds, memory = time.process_time() - began, peak_memory()
    if memory > LIMIT_MEMORY and result != "failed":
        result, why = "failed", f"{memory / 1e6:.0f} MB of memory ({result}: {why})"
    return Verdict(trial.kind, result, why, seconds, memory)


def _attempt(trial: Trial) -> tuple[str, str]:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            content = trial.read()
    except UserError as error:
        fault = _fault_of_refusal(trial, str(error))
        return ("refused", str(error)) if fault is None else ("failed", fault)
    except BaseException:
        return "failed", "traceback: " + traceback.format_exc()[-1500:]
    if trial.wrong is None:
        return "failed", "accepted what cannot be used"
    if (fault := trial.wrong(content)) is not None:
        return "failed", f"accepted with wrong content: {fault}"
    return "accepted", ""


def _fault_of_refusal(trial: Trial, message: str) -> str | None:
    if trial.must_accept:
        return f"refused what is right: {message[:500]}"
    if trial.names not in message:
        return f"the refusal does not name {trial.names}: {message[:500]}"
    if len(message) > LONGEST_REFUSAL:
        return f"a refusal of {len(message):,} characters: {message[:200]} …"
    if _CONTROL.search(message):
        return f"control characters in the refusal: {message[:500]!r}"
    return None


def peak_memory() -> int:
    """Returns the greatest resident memory of this process since `judge` began, in bytes."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        match = re.search(r"VmHWM:\s+(\d+)", file.read())
        return 1024 * int(match[1]) if match else 0
    return 0
