"""Kills programs with SIGKILL again and again, and checks that nothing of it shows.

    python -m tests.torture.kill --kills 40 --seed 0                    # spread over all programs
    python -m tests.torture.kill --kills 50 --seed 0 --programs train

A small study is made, program after program. Then a program starts again from the files it had. It
is killed at a random time, or at a random call by which files are renamed, flushed, opened, made or
removed, and started again until it ends by itself. After each kill every file that has its final
name must be as the undisturbed program left it; in the end there must be the same files and nothing
else; of a training, the same bits of every array of every checkpoint.

Prints one line of JSON; ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
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
}

CALLS = {"rename": 4, "replace": 4, "fsync": 20, "open": 40, "unlink": 4, "rmdir": 4, "mkdir": 4}
"""Functions of module `os`, and about how many calls of each are survived."""

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

UNFINISHED = (".partial", "incomplete.", "lock.json")
"""Parts of the names of what has no final name yet, or is there while a program runs."""

OF_ITS_TIME = ("run.json", "tensorboard", "report.html", ".tfrecord")
"""What depends on the time, and records: fields of a Protocol Buffer come in any order. What is in
records shows in the predictions.
"""


def run(study: Path, program: str, rng: random.Random | None = None, lasts: float = 0) -> int:
    """Runs a program, to its end or to a random moment; returns its exit status."""
    command, seconds = ["-m", "jaxcxr.cli", program], None
    if rng and rng.random() < 0.4:
        seconds = rng.uniform(0, lasts)
    elif rng:
        call = rng.choice(list(CALLS))
        count = 1 + int(rng.expovariate(1 / CALLS[call]))
        moment = rng.choice(("before", "after"))
        command = ["-c", KILLED_AT_CALL, moment, call, str(count), program]
    with open(study.parent / "log.txt", "ab") as log:
        running = subprocess.Popen(
            [sys.executable, *command, *PROGRAMS[program].split()],
            cwd=study,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=log,
            stderr=log,
        )
        try:
            return running.wait(seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            return running.wait()


def contents(study: Path, *, all_of_it: bool = False) -> set[tuple[str, object]]:
    """Returns what is in the files that have their final name, but for times.

    Args:
        study: The folder.
        all_of_it: Also the names of all files, and every array of every checkpoint.
    """
    found: set[tuple[str, object]] = set()
    for path in study.rglob("*"):
        name = str(path.relative_to(study))
        if all_of_it and not ("tensorboard/" in name or "checkpoints/" in name):
            found.add((name, "is there"))
        if all_of_it and path.name == "_METADATA":
            tree = ocp.PyTreeCheckpointHandler().restore(path.parent)
            for place, leaf in jax.tree.leaves_with_path(tree):
                found.add((name + jax.tree_util.keystr(place), np.asarray(leaf).tobytes()))
        if path.is_dir() or any(
            part in name for part in (*UNFINISHED, *OF_ITS_TIME, "checkpoints")
        ):
            continue
        if path.name == "history.csv":
            table = pd.read_csv(path, dtype=str).drop(columns=["seconds", "images_per_second"])
            found |= {(name, str(row)) for row in table.itertuples()}
        elif name.startswith("predicted/") and path.suffix == ".csv":  # they grow batch by batch
            found |= {(name, line) for line in path.read_bytes().split(b"\n")[:-1]}
        elif name == "predicted/about.json":
            settings = json.loads(path.read_bytes())
            found |= {(name, str(item)) for item in settings.items() if item[0] != "written"}
        elif path.name == "epochs.json":
            found |= {(name, str(item)) for item in json.loads(path.read_bytes()).items()}
        else:
            found.add((name, path.read_bytes()))
    return found


def torture(program: str, kills: int, rng: random.Random, study: Path) -> list[dict[str, object]]:
    """Runs a program, then again with so many kills; returns the failures."""
    before, log = study.parent / f"before {program}", study.parent / "log.txt"
    shutil.copytree(study, before)
    began = time.monotonic()
    assert run(study, program) == 0, (program, log.read_text()[-2000:])
    lasts, complete = time.monotonic() - began, contents(study, all_of_it=True)
    killed, failures = 0, []
    while killed < kills:
        shutil.rmtree(study)
        shutil.copytree(before, study)  # the same paths for the same results
        status = -1
        while status < 0:
            status = run(study, program, rng if killed < kills else None, lasts)
            killed += status < 0
            ended = contents(study, all_of_it=status >= 0)
            different = ended - complete if status < 0 else ended ^ complete
            if different or status > 0:
                names = sorted({name for name, _ in different})
                tail = log.read_text().splitlines()[-3:]
                failures.append({program: names, "kill": killed, "status": status, "log": tail})
    return failures


def main() -> int:
    """Kills the programs that are named, each as often."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=PROGRAMS)
    flags = parser.parse_args()
    rng = random.Random(flags.seed)
    due = Counter(flags.programs[number % len(flags.programs)] for number in range(flags.kills))
    failures = []
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "study"
        study.mkdir()
        (study / "tiny.py").write_text(TINY_CONFIG)
        last = max(map(list(PROGRAMS).index, flags.programs))
        for program in tqdm(list(PROGRAMS)[: last + 1]):
            failures += torture(program, due[program], rng, study)
    print(json.dumps({"kills": due, "failures": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
