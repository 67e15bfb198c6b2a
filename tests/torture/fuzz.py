"""Gives jaxcxr's readers files that storage, transfer, editors and vandals made, and judges them.

    python -m tests.torture.fuzz --inputs 20000 --seed 0
    python -m tests.torture.fuzz --inputs 20000 --seed 0 --only 1234   # one of these again

Image files, DICOM, the lists of a release, tables of predictions and boxes, settings of an
experiment, checkpoints, and some whole programs. Each input is made from the seed and its number.
It may be accepted with the right content or refused by a `UserError`. It fails when there is any
other exception, when what is accepted is not what the file says, when what is right is refused,
when it takes more than 5 s of processor time or when the process grows over 1 GB.

Prints a line per failure, and one line of JSON; ends with status 1 where anything failed. Ctrl-C
ends the campaign early; the line then tells what was tried until then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from tests.torture.fuzzing import campaign
from tests.torture.fuzzing.campaign import Input
from tests.torture.fuzzing.trial import Verdict


def summary(tried: Iterable[tuple[Input, Verdict]]) -> dict[str, Any]:
    """Returns what came of a campaign, and how often."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    subjects: dict[str, Counter[str]] = defaultdict(Counter)
    failures, slowest, largest = [], (0.0, ""), (0, "")
    for given, verdict in tried:
        kinds[verdict.kind][verdict.result] += 1
        subjects[given.subject][verdict.result] += 1
        if given.subject != "programs":
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


def until_stopped(tried: Iterable[tuple[Input, Verdict]]) -> Iterator[tuple[Input, Verdict]]:
    """Yields what was tried until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        yield from tried


def main() -> int:
    """Runs a campaign, or a few of its inputs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--programs", type=int, default=60, help="inputs given to whole programs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, action="append", help="the number of an input")
    parser.add_argument("--subject", help="inputs of one subject alone")
    flags = parser.parse_args()
    inputs = campaign.draw(flags.inputs, flags.programs, flags.seed)
    inputs = [
        given
        for given in inputs
        if flags.subject in (None, given.subject) and (not flags.only or given.index in flags.only)
    ]
    began = time.monotonic()
    tried = campaign.run(inputs, flags.workers)
    result = summary(
        until_stopped(tqdm(tried, "fuzz", total=len(inputs), unit="input", smoothing=0.05))
    )
    result["seconds"] = round(time.monotonic() - began)
    print(json.dumps({"seed": flags.seed, **result}))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
