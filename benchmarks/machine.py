"""What a benchmark ran on."""

from __future__ import annotations

import datetime
import importlib.metadata
import mmap
import os
import platform
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path

PACKAGES = ("jax", "flax", "torch", "tensorflow", "numpy")


def describe() -> dict[str, object]:
    """Returns processor, cores, versions of the packages that are there, and the date."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus(),
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def gpus() -> list[str]:
    """Returns the names of the NVIDIA GPUs here."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return re.findall(r"^GPU \d+: (.*?) \(", listed.stdout, re.MULTILINE)


def hand_over_ns(rounds: int = 20_000) -> int | None:
    """Returns the nanoseconds that a byte takes from one core to another and back.

    Python's own time is part of it. On a virtual machine two cores may lie where they share a
    cache, or where they do not, and the host may move them at any time: what threads hand over to
    each other then takes several times as long.
    """
    if not hasattr(os, "sched_setaffinity") or len(ours := sorted(os.sched_getaffinity(0))) < 2:
        return None
    byte = mmap.mmap(-1, mmap.PAGESIZE)
    child = os.fork()
    if not child:
        signal.alarm(60)  # ends it where this process was killed meanwhile
        os.sched_setaffinity(0, ours[1:2])
        for _ in range(rounds):
            while not byte[0]:
                pass
            byte[0] = 0
        os._exit(0)
    os.sched_setaffinity(0, ours[:1])
    times = []
    try:
        for _ in range(rounds):
            start = time.perf_counter_ns()
            byte[0] = 1
            while byte[0]:
                pass
            times.append(time.perf_counter_ns() - start)
    finally:
        os.sched_setaffinity(0, ours)
    os.waitpid(child, 0)
    return round(statistics.median(times))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
