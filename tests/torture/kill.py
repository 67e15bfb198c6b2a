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
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

REPOSITORY = Path(__file__).parents[2]

CONFIG = """
from jaxcxr.runs.experiment import default_config


def get_config():
    config = default_config()
    config.model.backbone = {"name": "ResNet18", "width": 4, "blocks": (1, 1, 1)}
    config.initial_weights = "random"
    config.data.image_size = 64
    config.batch_size = 8
    config.ema_decay = 0.9
    config.checkpoint_every = 2
    config.early_stopping.update(patience=2, min_delta=0.5)  # ends before epoch 7
    config.epochs = 7
    return config
"""

PROGRAMS = {
    "make_phantom": "--out=release --images=60 --image_size=64",
    "prepare": "--release=release --data_dir=datasets --image_size=64",
    "train": "--config=tiny.py --data_dir=datasets --workdir=run",
    "evaluate_auc": "--workdir=run --data_dir=datasets --bootstraps=100",
    "evaluate_boxes": "--workdir=run --data_dir=datasets --bootstraps=100",
    "predict": "--workdir=run --out=predicted release/images --save_heatmaps",
    "convert_weights": "--source=run --to=torch --out=run.safetensors",
    "report": "--workdirs=run --out=report.html",
    "sweep": "--configs=tiny.py --data_dir=datasets --out=sweep --set=epochs=1",
}

CALLS = {"rename": 4, "replace": 4, "fsync": 20, "open": 40, "unlink": 4, "rmdir": 4, "mkdir": 4}
"""Functions of module `os`, and about how many calls of each are survived."""

KILLED_AT_CALL = """
import os, signal, sys
from jaxcxr.cli.program import run_verb
call, count, after, verb = sys.argv[1:5]
sys.argv[:5] = ["jaxcxr"]
original, left = getattr(os, call), int(count)

def last(*args, **kwargs):
    global left
    left -= 1
    if left == 0 and after == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(os, call, last)
run_verb(verb)
"""

UNFINISHED = (".partial", "incomplete.", "lock.json", "checkpoints")
"""Parts of the names of what has no final name yet, or is there while a program runs."""

OF_ITS_TIME = ("run.json", "log.txt", "tensorboard", "report.html", ".tfrecord")
"""What depends on the time, and records: fields of a Protocol Buffer come in any order. What is in
records shows in the predictions.
"""

TIMES = ["seconds", "images_per_second"]


class Kill(NamedTuple):
    """When a program is killed: after so many seconds, or at the `count`-th call."""

    seconds: float | None
    call: str = ""
    count: int = 0
    when: str = "at a time"


def draw_kill(rng: random.Random, lasts: float) -> Kill:
    """Draws when a program that lasts so many seconds is to be killed."""
    if rng.random() < 0.4:
        return Kill(rng.uniform(0, lasts))
    call = rng.choice(list(CALLS))
    count = 1 + int(rng.expovariate(1 / CALLS[call]))
    return Kill(None, call, count, rng.choice(("before", "after")))


def start(study: Path, program: str, kill: Kill | None = None) -> int:
    """Runs a program of the study; returns its exit status, negative where it was killed."""
    command = [sys.executable, "-m", "jaxcxr.cli", program]
    if kill is not None and kill.call:
        how = [kill.call, str(kill.count), kill.when, program]
        command = [sys.executable, "-c", KILLED_AT_CALL, *how]
    with open(study.parent / "log.txt", "ab") as log:
        running = subprocess.Popen(
            [*command, *PROGRAMS[program].split()],
            cwd=study,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            return running.wait(None if kill is None else kill.seconds)
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


def contents(study: Path) -> dict[str, Any]:
    """Returns what is in a study under its final name, but for times."""
    files: dict[str, Any] = {}
    for path in study.rglob("*"):
        name = str(path.relative_to(study))
        if path.is_dir() or any(part in name for part in (*UNFINISHED, *OF_ITS_TIME)):
            continue
        if path.name == "history.csv":
            files[name] = pd.read_csv(path, dtype=str).drop(columns=TIMES)
        elif path.name == "epochs.json":
            files[name] = json.loads(path.read_bytes())
        else:
            files[name] = path.read_bytes()
    return files


def unlike(study: Path, whole: dict[str, Any]) -> list[str]:
    """Returns the files that are not as they are, or grow to be, in the undisturbed study."""
    different = []
    for name, content in contents(study).items():
        expected = whole.get(name)
        if isinstance(content, pd.DataFrame) and isinstance(expected, pd.DataFrame):
            same = content.equals(expected.iloc[: len(content)])
        elif isinstance(content, dict) and isinstance(expected, dict):
            same = content.items() <= expected.items()
        else:
            same = content == expected
        different += [] if same else [name]
    return different


def final_state(study: Path) -> dict[str, bytes]:
    """Returns the names of all files, and the bits of the arrays of checkpoints."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    state = {}
    for path in study.rglob("*"):
        name = str(path.relative_to(study))
        if "tensorboard/" not in name and "checkpoints/" not in name:
            state[name] = b""
        if path.name == "_METADATA":
            tree = ocp.PyTreeCheckpointHandler().restore(path.parent)
            for place, leaf in jax.tree.leaves_with_path(tree):
                array = np.asarray(leaf)
                state[f"{name}{jax.tree_util.keystr(place)} {array.dtype}"] = array.tobytes()
    return state


def differences(study: Path, whole: dict[str, Any], final: dict[str, bytes]) -> list[str]:
    """Returns in what a study differs that should be complete."""
    ours = final_state(study)
    names = sorted(name for name in ours | final if ours.get(name) != final.get(name))
    return [*unlike(study, whole), *names]


def torture(program: str, kills: int, rng: random.Random, study: Path, shown: tqdm) -> list[Any]:
    """Runs a program, and again with so many kills; returns how it was killed, and the failures."""
    before, how, failures = study.parent / "before", Counter(), []
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(study, before)
    began = time.monotonic()
    log = study.parent / "log.txt"
    assert start(study, program) == 0, (program, log.read_text()[-2000:])
    lasts = time.monotonic() - began
    whole, final = contents(study), final_state(study)
    while how.total() < kills:
        shutil.rmtree(study)
        shutil.copytree(before, study)  # the same paths for the same results
        status = -1
        while status < 0:
            kill = draw_kill(rng, lasts) if how.total() < kills else None
            status = start(study, program, kill)
            if status < 0 and kill is not None:
                how[f"{kill.when} {kill.call}".strip()] += 1
                shown.update()
            if different := unlike(study, whole):
                failures.append({program: different, "after": kill})
        if different := differences(study, whole, final):
            failures.append({program: different, "log": log.read_text().splitlines()[-3:]})
        elif status:
            failures.append({program: status, "log": log.read_text().splitlines()[-3:]})
    return [how, failures]


def main() -> int:
    """Kills the programs that are named, spread evenly."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=PROGRAMS)
    flags = parser.parse_args()
    rng, began = random.Random(flags.seed), time.monotonic()
    needed = list(PROGRAMS)[: max(map(list(PROGRAMS).index, flags.programs)) + 1]
    results: dict[str, Counter[str]] = {}
    failures: list[Any] = []
    with tempfile.TemporaryDirectory() as place, tqdm(total=flags.kills, unit="kill") as shown:
        study = Path(place) / "study"
        study.mkdir()
        (study / "tiny.py").write_text(CONFIG)
        for program in needed:
            due = 0
            if program in flags.programs:
                index = flags.programs.index(program)
                due = flags.kills * (index + 1) // len(flags.programs)
                due -= flags.kills * index // len(flags.programs)
            results[program], failed = torture(program, due, rng, study, shown)
            failures += failed
    how = sum(results.values(), Counter())
    print(
        json.dumps(
            {
                "kills": how.total(),
                "of": {program: count.total() for program, count in results.items()},
                "how": dict(sorted(how.items())),
                "failures": failures,
                "seconds": round(time.monotonic() - began),
            }
        )
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
