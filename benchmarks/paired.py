"""Two ways of doing the same work, measured in turns on the same machine.

Machines are noisy: a speed by itself says little, the ratio of two that took turns says more. Each
way lives in a process of its own, so that their thread pools do not meet, and rests while the other
works.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[[], None]
"""One unit of work, finished when it returns."""


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
        peer: Likewise.
        arguments: Of both.
        units: What one call of our work does, images for example.
        rounds: How often each is measured, after a warm-up.
        peer_units: What one call of the peer's does; as many where not given.

    Returns:
        Medians and extremes of both in units per second, and the ratio of the medians.
    """
    ends = {"ours": start(ours, **arguments), "peer": start(peer, **arguments)}
    done = {"ours": units, "peer": peer_units or units}
    seconds = seconds_in_turns(ends, rounds)
    rates = {name: [done[name] / each for each in times] for name, times in seconds.items()}
    for end in ends.values():
        end.send(None)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "unit_per_second": {name: round(value, 1) for name, value in medians.items()},
        "range": {name: [round(min(v), 1), round(max(v), 1)] for name, v in rates.items()},
        "ratio": round(medians["ours"] / medians["peer"], 3),
        "rounds": rounds,
    }


def start(prepare: Callable[..., Work], **arguments: Any) -> Connection:
    """Starts a process that gets ready and warms up; sending None to it ends it."""
    # Memory that is new to a process costs a fault for every page, so all take large ones.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    context = multiprocessing.get_context("spawn")
    end, far = context.Pipe()
    context.Process(target=_serve, args=(far, prepare, arguments), daemon=True).start()
    far.close()  # so that the end of a process that fails is seen
    _seconds(end)
    return end


def seconds_in_turns(ends: Mapping[str, Connection], rounds: int) -> dict[str, list[float]]:
    """Runs the work of processes that `start` started in turns, and returns each one's times."""
    seconds: dict[str, list[float]] = {name: [] for name in ends}
    for _ in range(rounds):
        for name, end in ends.items():
            seconds[name].append(_seconds(end))
    return seconds


_REST_SECONDS = 0.5
"""Between two turns: threads that wait for more work may spin for a while."""


def _seconds(end: Connection) -> float:
    time.sleep(_REST_SECONDS)
    try:
        end.send("work")
        return end.recv()
    except (EOFError, OSError):
        raise SystemExit("error: one of the two ways failed; see above") from None


def _serve(end: Connection, prepare: Callable[..., Work], arguments: dict[str, Any]) -> None:
    work = prepare(**arguments)
    for _ in range(2):
        work()
    while end.recv() is not None:
        work()  # What a process at rest has lost, caches and pages, is not the work's own cost.
        start = time.perf_counter()
        work()
        end.send(time.perf_counter() - start)
