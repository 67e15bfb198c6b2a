"""Two ways of doing the same work, measured in turns on the same machine.

Machines are noisy: a speed by itself says little, the ratio of two that took turns says more. Each
way lives in a process of its own, so that their thread pools do not meet, and rests while the other
works.
"""

from __future__ import annotations

import functools
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
    ways = {
        name: functools.partial(way, **arguments) for name, way in (("ours", ours), ("peer", peer))
    }
    done = {"ours": units, "peer": peer_units or units}
    seconds = seconds_in_turns(ways, rounds)
    rates = {name: [done[name] / each for each in times] for name, times in seconds.items()}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "unit_per_second": {name: round(value, 1) for name, value in medians.items()},
        "range": {name: [round(min(v), 1), round(max(v), 1)] for name, v in rates.items()},
        "ratio": round(medians["ours"] / medians["peer"], 3),
        "rounds": rounds,
    }


def seconds_in_turns(ways: Mapping[str, Callable[[], Work]], rounds: int) -> dict[str, list[float]]:
    """Runs several ways in turns.

    Args:
        ways: Functions of the top level, or partial ones, that get ready and return the work.
        rounds: How often each is measured, after a warm-up.

    Returns:
        Seconds of every round, by the names of `ways`.
    """
    # Memory that is new to a process costs a fault for every page, so all take large ones.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    context = multiprocessing.get_context("spawn")
    ends = {}
    for name, prepare in ways.items():
        ends[name], far = context.Pipe()
        context.Process(target=_serve, args=(far, prepare), daemon=True).start()
        far.close()  # so that the end of a process that fails is seen
        _seconds(ends[name])  # warm-up
    seconds: dict[str, list[float]] = {name: [] for name in ends}
    for _ in range(rounds):
        for name, end in ends.items():
            seconds[name].append(_seconds(end))
    for end in ends.values():
        end.send(None)
    return seconds


_REST_SECONDS = 0.5
"""Between two turns: threads that wait for more work may spin for a while."""


def _seconds(end: Connection) -> float:
    time.sleep(_REST_SECONDS)
    try:
        end.send("work")
        return end.recv()
    except (EOFError, OSError):
        raise SystemExit("error: one of the ways failed; see above") from None


def _serve(end: Connection, prepare: Callable[[], Work]) -> None:
    work = prepare()
    for _ in range(2):
        work()
    while end.recv() is not None:
        work()  # What a process at rest has lost, caches and pages, is not the work's own cost.
        start = time.perf_counter()
        work()
        end.send(time.perf_counter() - start)
