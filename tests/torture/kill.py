"""Kills programs with SIGKILL again and again, and checks that nothing of it shows.

    python -m tests.torture.kill --kills 40 --seed 0                    # spread over all programs
    python -m tests.torture.kill --kills 50 --seed 0 --programs train

A small study is made, program after program. Then a program starts again from the files it had. It
is killed, with all that it started: at a random time, or just before or after a random call by
which files are renamed, flushed, opened, made or removed. After each kill every file that has its
final name must be as the undisturbed program left it. It is started once more, and killed again,
until it ends by itself. Then it must have left the same files and nothing else; of a training, the
same bits of every array of every checkpoint.

Prints one line of JSON; ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from tests.programs import REPOSITORY
from tests.tiny import TINY_CONFIG

SETTINGS = (
    "--config.ema_decay=0.9 --config.checkpoint_every=2 --config.epochs=7 "
    "--config.early_stopping.patience=2 --config.early_stopping.min_delta=0.5"
)
"""Of a training that stops early, with a checkpoint within each epoch."""

PROGRAMS = {
    "make_phantom": "--out=release --images=60 --image_size=64",
    "prepare": "--release=release --data_dir=datasets --image_size=64",
    "train": f"--config=tiny.py --data_dir=datasets --workdir=run {SETTINGS}",
    "evaluate_auc": "--workdir=run --data_dir=datasets --bootstraps=100",
    "evaluate_boxes": "--workdir=run --data_dir=datasets --bootstraps=100",
    "predict": "--workdir=run --out=predicted release/images --save_heatmaps",
    "convert_weights": "--source=run --to=torch --out=run.safetensors",
    "report": "--workdirs=run --out=report.html",
    "sweep": "--configs=tiny.py --data_dir=datasets --out=sweep --set=epochs=1",
}

CALLS = {"rename": 4, "replace": 4, "fsync": 20, "open": 40, "unlink": 4, "rmdir": 4, "mkdir": 4}
"""Functions of module `os`, and about how many calls of each are survived."""

TIMES = ["seconds", "images_per_second"]

KILLED_AT_CALL = """
import os, signal, sys
from jaxcxr.cli.program import run_verb
when, call, count, verb = sys.argv[1:5]
sys.argv[:5] = ["jaxcxr"]
original, left = getattr(os, call), int(count)

def last(*args, **kwargs):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(os, call, last)
run_verb(verb)
"""

TEMPORARY = (".partial", "incomplete.", "lock.json")
"""Parts of the names of what has no final name yet, or is there while a program runs."""

OF_ITS_TIME = ("run.json", "log.txt", "tensorboard", "report.html", ".tfrecord")
"""What depends on the time, and records: fields of a Protocol Buffer come in any order. What is in
records shows in the predictions.
"""

Facts = set[tuple[str, "bytes | str"]]
"""Names of files, each with its content, or with a row of a table that grows."""


def draw_kill(rng: random.Random, lasts: float) -> tuple[float | None, tuple[str, ...]]:
    """Returns after how many seconds a program is killed, or before or after which call."""
    if rng.random() < 0.4:
        return rng.uniform(0, lasts), ()
    call = rng.choice(list(CALLS))
    count = 1 + int(rng.expovariate(1 / CALLS[call]))
    return None, (rng.choice(("before", "after")), call, str(count))


def start(study: Path, program: str, seconds: float | None = None, at: tuple[str, ...] = ()) -> int:
    """Runs a program of the study; returns its exit status, negative where it was killed."""
    command = ["-c", KILLED_AT_CALL, *at, program] if at else ["-m", "jaxcxr.cli", program]
    with open(study.parent / "log.txt", "ab") as log:
        running = subprocess.Popen(
            [sys.executable, *command, *PROGRAMS[program].split()],
            cwd=study,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            return running.wait(seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            return running.wait()
        finally:
            kill_session(running.pid)


def kill_session(number: int) -> None:
    """Kills what a program has left running, as the loss of the machine would."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == number:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def contents(study: Path) -> Facts:
    """Returns what is in the files that have their final name, but for times."""
    facts: Facts = set()
    for path in study.rglob("*"):
        name = str(path.relative_to(study))
        if path.is_dir() or any(part in name for part in (*TEMPORARY, *OF_ITS_TIME, "checkpoints")):
            continue
        if path.name == "history.csv":
            table = pd.read_csv(path, dtype=str).drop(columns=TIMES)
            facts |= {(name, str(row)) for row in table.itertuples()}
        elif path.name == "epochs.json":
            facts |= {(name, str(item)) for item in json.loads(path.read_bytes()).items()}
        else:
            facts.add((name, path.read_bytes()))
    return facts


def complete(study: Path) -> Facts:
    """Returns the contents, the names of all files, and every array of every checkpoint."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    facts = contents(study)
    for path in study.rglob("*"):
        name = str(path.relative_to(study))
        if "tensorboard/" not in name and "checkpoints/" not in name:
            facts.add((name, "is there"))
        if path.name == "_METADATA":
            tree = ocp.PyTreeCheckpointHandler().restore(path.parent)
            for place, leaf in jax.tree.leaves_with_path(tree):
                facts.add((f"{name}{jax.tree_util.keystr(place)}", np.asarray(leaf).tobytes()))
    return facts


def torture(
    program: str, kills: int, rng: random.Random, study: Path, shown: tqdm
) -> tuple[Counter[str], list[dict[str, object]]]:
    """Runs a program, then again with so many kills; returns how it was killed, and failures."""
    before, log = study.parent / "before", study.parent / "log.txt"
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(study, before)
    began = time.monotonic()
    assert start(study, program) == 0, (program, log.read_text()[-2000:])
    lasts, whole = time.monotonic() - began, complete(study)
    how: Counter[str] = Counter()
    failures: list[dict[str, object]] = []
    while how.total() < kills:
        shutil.rmtree(study)
        shutil.copytree(before, study)  # the same paths for the same results
        status = -1
        while status < 0:
            seconds, at = draw_kill(rng, lasts) if how.total() < kills else (None, ())
            status = start(study, program, seconds, at)
            if status < 0:
                how[" ".join(at[:2]) or "at a time"] += 1
                shown.update()
            different = contents(study) - whole if status < 0 else complete(study) ^ whole
            if different or status > 0:
                names = sorted({name for name, _ in different})
                tail = log.read_text().splitlines()[-3:]
                failures.append(
                    {program: names, "kill": [seconds, at], "status": status, "log": tail}
                )
    return how, failures


def main() -> int:
    """Kills the programs that are named, each as often."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=PROGRAMS)
    flags = parser.parse_args()
    rng, began = random.Random(flags.seed), time.monotonic()
    due = Counter(flags.programs[number % len(flags.programs)] for number in range(flags.kills))
    killed, how, failures = {}, Counter(), []
    with tempfile.TemporaryDirectory() as place, tqdm(total=flags.kills, unit="kill") as shown:
        study = Path(place) / "study"
        study.mkdir()
        (study / "tiny.py").write_text(TINY_CONFIG)
        last = max(map(list(PROGRAMS).index, flags.programs))
        for program in list(PROGRAMS)[: last + 1]:
            kinds, failed = torture(program, due[program], rng, study, shown)
            killed[program] = kinds.total()
            how += kinds
            failures += failed
    seconds = round(time.monotonic() - began)
    result = {"kills": killed, "how": how, "failures": failures, "seconds": seconds}
    print(json.dumps(result))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
