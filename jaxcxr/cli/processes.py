"""Programs that a program starts."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from typing import IO


class Programs:
    """Programs that threads start and wait for, and that can be ended together.

    Each has a process group of its own: Ctrl-C at the terminal comes to this process alone, which
    passes it on by `stop`. Otherwise they would receive two signals, and not save what they did.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def call(self, command: Sequence[str], log: IO[str]) -> int | None:
        """Runs a program to its end; returns its exit status, or None after `stop`.

        Args:
            command: The program and its arguments.
            log: Where its output goes.
        """
        with self._lock:
            if self._stopped:
                return None
            program = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
            self._running.add(program)
        status = program.wait()
        with self._lock:
            self._running.discard(program)
        return status

    def stop(self) -> None:
        """Sends SIGTERM to each that runs; no other one is started."""
        with self._lock:
            self._stopped = True
            for program in self._running:
                program.terminate()
