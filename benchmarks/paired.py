"""Ways of doing the same work, measured in turns on the same machine.

Machines are noisy: a speed by itself says little, the ratio of two that took turns says more. Each
way lives in a process of its own, so that their thread pools do not meet, and rests while others
work.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.machine import hand_over_ns

Work = Callable[[], None]
"""One unit of work, finished when it returns."""

_REST_SECONDS = 0.5
"""Between two turns on a CPU: threads that wait for more work may spin for a while."""


class Child:
    """A process that prepares work and does it whenever it is asked, or computes one result.

    Args:
        prepare: Top-level function that returns `Work`, or the result.
        arguments: Its arguments.
        environment: Variables to set before it is called.
    """

    def __init__(
        self,
        prepare: Callable[..., Any],
        arguments: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # Memory that is new to a process costs a fault for every page, so all take large ones.
        os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        context = multiprocessing.get_context("spawn")
        self._end, far = context.Pipe()
        serve = (far, prepare, dict(arguments), dict(environment or {}))
        self._process = context.Process(target=_serve, args=serve, daemon=True)
        self._process.start()
        far.close()  # so that the end of a process that fails is seen

    def result(self, deadline: float = math.inf) -> Any:
        """Returns the result.

        Args:
            deadline: When to give up, a time of `time.monotonic`.

        Raises:
            TimeoutError: Nothing came before the deadline.
            RuntimeError: The process failed; with its traceback.
        """
        return self._answer(None, deadline)

    def preparation(self, deadline: float = math.inf) -> float:
        """Returns the seconds until the work was done for the first time; raises as `result`."""
        return self._answer("preparation", deadline)

    def turn(self, deadline: float = math.inf, rest: float = _REST_SECONDS) -> float:
        """Has the work done after a rest, and returns its seconds; raises as `result`."""
        time.sleep(rest)
        return self._answer("turn", deadline)

    def peak_memory(self) -> int | None:
        """Returns the most bytes that the process had on a GPU; None without one."""
        return self._answer("peak_memory", math.inf)

    def end(self) -> None:
        """Ends the process and those that it started."""
        self._process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()

    def _answer(self, question: str | None, deadline: float) -> Any:
        wait = None if deadline == math.inf else max(deadline - time.monotonic(), 0)
        try:
            if question is not None:
                self._end.send(question)
            if not self._end.poll(wait):
                raise TimeoutError(f"not finished within the {wait:.0f} s that were left")
            failure, answer = self._end.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise RuntimeError(f"its process ended with {self._process.exitcode}") from None
        if failure is not None:
            raise RuntimeError(failure)
        return answer


def measure(
    ours: Callable[..., Work],
    peer: Callable[..., Work],
    arguments: dict[str, Any],
    *,
    units: int,
    rounds: int,
    peer_units: int | None = None,
) -> dict[str, Any]:
    """Runs two ways in turns.

    Args:
        ours: Top-level function that gets ready and returns our work.
        peer: The function of the other way.
        arguments: Of both.
        units: What one call of our work does, images for example.
        rounds: How often each is measured, after a warm-up.
        peer_units: What one call of the peer's does; as many where not given.

    Returns:
        Medians and extremes of both in units per second, the ratio of the medians, and
        `hand_over_ns` before and after.
    """
    before = hand_over_ns()
    children = {"ours": start(ours, **arguments), "peer": start(peer, **arguments)}
    done = {"ours": units, "peer": peer_units or units}
    seconds = seconds_in_turns(children, rounds)
    rates = {name: [done[name] / each for each in times] for name, times in seconds.items()}
    for child in children.values():
        child.end()
    return {**summary(rates), "rounds": rounds, "hand_over_ns": [before, hand_over_ns()]}


def start(prepare: Callable[..., Work], **arguments: Any) -> Child:
    """Starts a process and waits until its work was done for the first time."""
    child = Child(prepare, arguments)
    child.preparation()
    return child


def seconds_in_turns(children: Mapping[str, Child], rounds: int) -> dict[str, list[float]]:
    """Runs the work of processes in turns, and returns each one's times."""
    seconds: dict[str, list[float]] = {name: [] for name in children}
    for _ in range(rounds):
        for name, child in children.items():
            seconds[name].append(child.turn())
    return seconds


def summary(rates: Mapping[str, list[float]]) -> dict[str, Any]:
    """Returns medians and extremes of rates, and the ratio of ours to the fastest other way."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    others = [value for name, value in medians.items() if name != "ours"]
    ratio = round(medians["ours"] / max(others), 3) if others and "ours" in medians else None
    return {
        "unit_per_second": {name: round(value, 1) for name, value in medians.items()},
        "range": {name: [round(min(v), 1), round(max(v), 1)] for name, v in rates.items()},
        "ratio": ratio,
    }


def _serve(
    end: Connection,
    prepare: Callable[..., Any],
    arguments: dict[str, Any],
    environment: dict[str, str],
) -> None:
    os.setsid()
    os.environ.update(environment)
    try:
        start = time.perf_counter()
        prepared = prepare(**arguments)
        if not callable(prepared):
            end.send((None, prepared))
            return
        prepared()
        preparation = time.perf_counter() - start
        answers = {
            "preparation": lambda: preparation,
            "turn": lambda: _seconds(prepared),
            "peak_memory": _peak_memory,
        }
        while True:
            end.send((None, answers[end.recv()]()))
    except EOFError:
        return  # the other end was closed
    except Exception:
        end.send((traceback.format_exc(), None))


def _seconds(work: Work) -> float:
    work()  # What a process at rest has lost, caches and pages, is not the work's own cost.
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_memory() -> int | None:
    if "torch" in sys.modules:
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    import jax

    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
