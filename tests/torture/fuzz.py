"""Gives the readers of jaxcxr files that storage, transfer and editors damaged, and judges them.

    python -m tests.torture.fuzz --inputs 20000 --seed 0
    python -m tests.torture.fuzz --inputs 20000 --seed 0 --only 1234   # one of these again

Each input is made from the seed and its number. It passes when it is accepted with the right
content, or refused by a `UserError` that names it. It fails when there is any other exception, when
what is accepted is not what the file says, when what is right is refused, when it takes too much
processor time or memory, or when it ends the process.

Prints a line per failure, and one line of JSON; ends with status 1 where anything failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tests.torture.fuzzing.trial import Trial, Verdict, judge

SUBJECTS = {"images": 0.36, "dicom": 0.14, "tables": 0.36, "settings": 0.09, "checkpoints": 0.05}
"""Modules of `tests.torture.fuzzing`, and their shares of the inputs."""

PATIENCE = 300
"""Seconds by the clock after which an input hangs that takes no processor time."""

CHUNK = 250
"""Inputs that one process tries; compilers keep what they compiled."""


class Input(NamedTuple):
    """One input of a campaign: a module of `tests.torture.fuzzing`, a number, the seed."""

    subject: str
    index: int
    seed: int

    def make(self, folder: Path) -> Trial:
        """Returns the trial, whose files are in `folder`."""
        kinds = importlib.import_module(f"tests.torture.fuzzing.{self.subject}").KINDS
        rng = np.random.default_rng([self.seed, self.index])
        shares = np.array(list(kinds.values()))
        return list(kinds)[rng.choice(len(kinds), p=shares / shares.sum())](rng, folder)


def draw(count: int, programs: int, seed: int) -> list[Input]:
    """Returns the inputs of a campaign, `programs` of them for complete programs."""
    rng = np.random.default_rng(seed)
    subjects = rng.choice(list(SUBJECTS), count, p=list(SUBJECTS.values()))
    launched = set(rng.choice(count, min(programs, count), replace=False).tolist())
    return [
        Input("programs" if index in launched else str(subject), index, seed)
        for index, subject in enumerate(subjects)
    ]


def run(inputs: Sequence[Input], workers: int) -> Iterator[tuple[Input, Verdict]]:
    """Yields each input with what came of it, in order."""
    chunks = [inputs[start : start + CHUNK] for start in range(0, len(inputs), CHUNK)]
    with ThreadPoolExecutor(workers) as pool:
        for chunk, verdicts in zip(chunks, pool.map(try_chunk, chunks), strict=True):
            yield from zip(chunk, verdicts, strict=True)


def try_chunk(inputs: Sequence[Input]) -> list[Verdict]:
    """Tries inputs in a process of their own; where one ends it, the others in the next."""
    verdicts: list[Verdict] = []
    spawn = multiprocessing.get_context("spawn")
    while len(verdicts) < len(inputs):
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_try_each, args=(theirs, inputs[len(verdicts) :]))
        process.start()
        theirs.close()
        try:
            while len(verdicts) < len(inputs) and ours.poll(PATIENCE):
                verdicts.append(ours.recv())
            why = f"hangs: no answer after {PATIENCE} s"
        except (EOFError, ConnectionResetError):
            process.join()
            timed_out = process.exitcode == -signal.SIGPROF
            why = f"the process died with status {process.exitcode}"
            why = "hangs: out of its processor time" if timed_out else why
        process.kill()
        process.join()
        if len(verdicts) < len(inputs):
            verdicts.append(Verdict(inputs[len(verdicts)].subject, "failed", why))
    return verdicts


def _try_each(connection: Connection, inputs: Sequence[Input]) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for given in inputs:
        place = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            trial = given.make(place)
            signal.setitimer(signal.ITIMER_PROF, trial.limit_seconds)
            verdict = judge(trial)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send(verdict)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def results_of(tried: Iterable[tuple[Input, Verdict]]) -> dict[str, Any]:
    """Returns what came of a campaign, and how often."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    subjects: dict[str, Counter[str]] = defaultdict(Counter)
    failures, slowest, largest = [], (0.0, ""), (0, "")
    for given, verdict in tried:
        kinds[verdict.kind][verdict.result] += 1
        subjects[given.subject][verdict.result] += 1
        slowest = max(slowest, (round(verdict.seconds, 2), verdict.kind))
        largest = max(largest, (verdict.memory // 10**6, verdict.kind))
        if verdict.result == "failed":
            failures.append({"index": given.index, "kind": verdict.kind, "why": verdict.why})
            tqdm.write(f"input {given.index}, {verdict.kind}: {verdict.why}", file=sys.stderr)
    return {
        "inputs": sum(count.total() for count in subjects.values()),
        "subjects": {name: dict(sorted(count.items())) for name, count in sorted(subjects.items())},
        "kinds": {name: dict(sorted(count.items())) for name, count in sorted(kinds.items())},
        "failures": failures,
        "slowest_seconds": slowest,
        "largest_megabytes": largest,
    }


def main() -> int:
    """Runs a campaign, or a few of its inputs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--programs", type=int, default=60, help="inputs for complete programs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, action="append", help="the number of an input")
    parser.add_argument("--subject", help="inputs of one subject alone")
    flags = parser.parse_args()
    inputs = [
        given
        for given in draw(flags.inputs, flags.programs, flags.seed)
        if flags.subject in (None, given.subject) and (not flags.only or given.index in flags.only)
    ]
    began = time.monotonic()
    tried = tqdm(run(inputs, flags.workers), "fuzz", total=len(inputs), unit="input")
    result = results_of(tried)
    result["seconds"] = round(time.monotonic() - began)
    print(json.dumps({"seed": flags.seed, **result}))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
