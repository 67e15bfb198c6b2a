"""Many inputs, each made from (seed, index), tried in processes that may hang or die."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from tests.torture.fuzzing.trial import LIMIT_SECONDS, Trial, Verdict, judge

SUBJECTS = {
    "images": 0.36,
    "dicom": 0.14,
    "lists": 0.18,
    "tables": 0.18,
    "settings": 0.09,
    "checkpoints": 0.05,
}
"""Modules beside this one, and their shares of the inputs."""

PATIENCE = 300
"""Seconds by the clock after which an input hangs that takes no processor time."""

LIFE = 250
"""Inputs that a process tries before it is replaced, and with it what compilers keep."""


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a campaign.

    Attributes:
        subject: A key of `SUBJECTS`, or "programs".
        index: Number from 0.
        seed: Of the campaign.
    """

    subject: str
    index: int
    seed: int

    def make(self, folder: Path) -> Trial:
        """Returns the trial, whose files are in `folder`."""
        kinds = importlib.import_module(f"tests.torture.fuzzing.{self.subject}").KINDS
        rng = np.random.default_rng([self.seed, self.index])
        shares = np.array(list(kinds.values()))
        kind = list(kinds)[rng.choice(len(kinds), p=shares / shares.sum())]
        return kind(rng, folder)


def draw(count: int, programs: int, seed: int) -> list[Input]:
    """Returns a campaign's inputs in the order in which they are tried."""
    rng = np.random.default_rng(seed)
    subjects = rng.choice(list(SUBJECTS), count, p=list(SUBJECTS.values()))
    launched = set(rng.choice(count, min(programs, count), replace=False).tolist())
    return [
        Input("programs" if index in launched else str(subject), index, seed)
        for index, subject in enumerate(subjects)
    ]


def try_one(given: Input, place: Path) -> Verdict:
    """Makes and tries an input in this process; what it leaves under `place` is removed."""
    folder = place / f"{given.index}"
    folder.mkdir()
    try:
        trial = given.make(folder)
        signal.setitimer(signal.ITIMER_PROF, trial.limit_seconds)
        try:
            return judge(trial)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(inputs: list[Input], workers: int) -> Iterator[tuple[Input, Verdict]]:
    """Yields each input with what came of it, in the order in which they are done."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        to_do = iter(inputs)
        crew = [_Worker(Path(place) / str(number)) for number in range(workers)]
        try:
            for worker in crew:
                worker.start(next(to_do, None))
            while busy := [worker for worker in crew if worker.given is not None]:
                ready = wait([worker.connection for worker in busy], timeout=1)
                for worker in busy:
                    if worker.connection in ready or worker.is_late():
                        given, verdict = worker.finish()
                        worker.start(next(to_do, None))
                        yield given, verdict
        finally:
            for worker in crew:
                worker.end()


class _Worker:
    """A process that tries one input after another, and is replaced when one ends it."""

    def __init__(self, place: Path) -> None:
        self.given: Input | None = None
        self._tried = 0
        self._place = place
        self._began = 0.0
        self._process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection

    def start(self, given: Input | None) -> None:
        self.given = given
        if given is None:
            return
        self._tried += 1
        if self._tried % LIFE == 0:
            self.end()
        if self._process is None:
            spawn = multiprocessing.get_context("spawn")
            self._place.mkdir(exist_ok=True)
            self.connection, theirs = spawn.Pipe()
            self._process = spawn.Process(target=_work, args=(theirs, self._place), daemon=True)
            self._process.start()
            theirs.close()
        self._began = time.monotonic()
        self.connection.send(given)

    def is_late(self) -> bool:
        return time.monotonic() - self._began > PATIENCE

    def finish(self) -> tuple[Input, Verdict]:
        """Returns the input under way and what came of it; ends a process that does not answer."""
        given = self.given
        assert given is not None
        try:
            if self.connection.poll():
                return given, self.connection.recv()
            why = f"hangs: no answer after {PATIENCE:.0f} s"
        except (EOFError, ConnectionResetError):
            assert self._process is not None
            self._process.join()
            status = self._process.exitcode
            why = f"the process died with status {status}"
            if status == -signal.SIGPROF:
                why = "hangs: out of its processor time"
        self.end()
        return given, Verdict(given.subject, "failed", why, LIMIT_SECONDS)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.connection.close()
        self._process = None


def _work(connection: Connection, place: Path) -> None:
    """Tries inputs until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    while True:
        try:
            given = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(try_one(given, place))
