"""One fuzzed input, and the judgement on what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import time
import traceback
from collections.abc import Callable
from typing import Any

from jaxcxr.errors import UserError

LIMIT_SECONDS = 5.0
LIMIT_MEMORY = 10**9
LONGEST_REFUSAL = 10_000
"""Characters: a person can read that much; a file's line of 10 MB is not to be told back."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@dataclasses.dataclass(frozen=True)
class Trial:
    """An input, ready to be read.

    Attributes:
        kind: What was done to it.
        read: Reads it; returns the content or raises UserError.
        wrong: Tells what is wrong with accepted content, None where it is right. Where this is
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
    limit_seconds: float = LIMIT_SECONDS


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of a trial.

    Attributes:
        kind: Of the trial.
        result: "accepted", "refused" or "failed".
        why: The refusal, or the failure.
        seconds: Processor time that it took: a busy machine makes no input slow.
        memory: Greatest resident memory of the process meanwhile, bytes.
    """

    kind: str
    result: str
    why: str = ""
    seconds: float = 0.0
    memory: int = 0


def judge(trial: Trial) -> Verdict:
    """Reads an input and tells what came of it, memory and hangs included."""
    _reset_peak()
    began = time.process_time()
    result, why = _attempt(trial)
    verdict = Verdict(trial.kind, result, why, time.process_time() - began, peak_memory())
    if verdict.memory > LIMIT_MEMORY and result != "failed":
        why = f"{verdict.memory / 1e6:.0f} MB of memory ({result}: {why})"
        return dataclasses.replace(verdict, result="failed", why=why)
    return verdict


def _attempt(trial: Trial) -> tuple[str, str]:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            content = trial.read()
    except UserError as error:
        if (fault := _fault_of_refusal(trial, str(error))) is not None:
            return "failed", fault
        return "refused", str(error)
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


def _reset_peak() -> None:
    """Makes the kernel forget the greatest memory so far; Linux only."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_memory() -> int:
    """Returns the greatest resident memory of this process since `_reset_peak`, in bytes."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", file.read())[1])
    return 0
