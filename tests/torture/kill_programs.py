"""Kills the launch programs with SIGKILL again and again, and checks that nothing of it shows.

    python tests/torture/kill_programs.py --kills 40 --seed 0

A small study is made from the first program to the last. Then it is made again, and each program
is killed on its way, with all that it started: at a random time, or just before or after a random
call by which files are renamed, opened, made or removed. After each kill every file that has its
final name must be as the undisturbed study has it. At last each program is started once more; then
it must end well, and leave the same files and nothing else.

Prints one line of JSON; ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from kill_training import CALLS, TIMES, kill_self_at
from tqdm import tqdm

LAUNCH = Path(__file__).parents[2] / "launch"

CONFIG = """
from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    config = default_config()
    config.model.backbone = {"name": "ResNet18", "width": 4, "blocks": (1, 1, 1)}
    config.initial_weights = "random"
    config.data.image_size = 64
    config.batch_size = 8
    config.checkpoint_every = 2
    config.epochs = 3
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

UNFINISHED = (".partial", "incomplete.", "lock.json")
"""Parts of the names of what has no final name yet, or is there while a program runs."""

OF_ITS_TIME = ("run.json", "log.txt", "tensorboard", "checkpoints", "report.html", ".tfrecord")
"""What depends on the time, and records: fields of a Protocol Buffer come in any order.
What is in checkpoints and records shows in the predictions.
"""

Contents = dict[str, "bytes | pd.DataFrame | dict[str, int]"]


def contents(study: Path) -> Contents:
    """Returns what is in a study under its final name, but for times."""
    files: Contents = {}
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


def names(study: Path) -> set[str]:
    """Returns the names of all that is in a study, but for events and a checkpoint's own files."""
    paths = (str(path.relative_to(study)) for path in study.rglob("*"))
    return {name for name in paths if "tensorboard/" not in name and "checkpoints/" not in name}


def unlike(study: Path, whole: Contents) -> list[str]:
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


def start(study: Path, program: str, kill: tuple[str, int, bool] | float | None = None) -> int:
    """Runs a program of the study; returns its exit status, negative where it was killed."""
    words = PROGRAMS[program].split()
    command = [sys.executable, str(LAUNCH / f"{program}.py"), *words]
    if isinstance(kill, tuple):
        call, count, after = kill
        how = [f"--call={call}", f"--count={count}", f"--after={after:d}"]
        command = [sys.executable, __file__, *how, f"--program={program}", "--", *words]
    with open(study.parent / "log.txt", "ab") as log:
        running = subprocess.Popen(
            command, cwd=study, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return running.wait(kill if isinstance(kill, float) else None)
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


def draw_kill(rng: random.Random, lasts: float) -> tuple[str, int, bool] | float:
    """Draws when a program that lasts so many seconds is to be killed."""
    if rng.random() < 0.4:
        return rng.uniform(0, lasts)
    call = rng.choice(CALLS)
    return call, 1 + int(rng.expovariate(1 / (40 if call == "open" else 4))), rng.random() < 0.5


def torture(kills: int, seed: int, programs: list[str], place: Path) -> dict[str, object]:
    """Returns what `kills` kills did; they are spread over the programs."""
    rng, study, began = random.Random(seed), place / "study", time.monotonic()
    study.mkdir()
    (study / "tiny.py").write_text(CONFIG)
    shutil.copytree(study, place / "again")
    lasts, after = {}, {}
    for program in programs:
        start_time = time.monotonic()
        assert start(study, program) == 0, (program, (place / "log.txt").read_text()[-2000:])
        lasts[program] = time.monotonic() - start_time
        after[program] = names(study)
    whole = contents(study)
    study.rename(place / "whole")
    (place / "again").rename(study)  # the same paths for the same results
    how: Counter[str] = Counter()
    done: Counter[str] = Counter()
    failures, shown = [], tqdm(total=kills, unit="kill")
    for index, program in enumerate(programs):
        due = kills * (index + 1) // len(programs)
        for _ in range(10 * kills):
            if done.total() >= due:
                break
            kill = draw_kill(rng, lasts[program])
            if start(study, program, kill) < 0:
                done[program] += 1
                how[kind(kill)] += 1
                shown.update()
            if different := unlike(study, whole):
                failures.append({program: f"{different} after {kill}"})
        status = start(study, program)
        problems = [*unlike(study, whole), *sorted(names(study) ^ after[program])]
        if status != 0 or problems:
            tail = (place / "log.txt").read_text().splitlines()[-3:]
            failures.append({program: problems, "status": status, "log": tail})
    shown.close()
    missing = sorted(whole.keys() - contents(study).keys())
    return {
        "kills": done.total(),
        "of": dict(done),
        "how": dict(sorted(how.items())),
        "files_compared": len(whole),
        "failures": [*failures, *missing],
        "seconds": round(time.monotonic() - began),
    }


def kind(kill: tuple[str, int, bool] | float) -> str:
    """Returns the name of a way to kill."""
    if isinstance(kill, float):
        return "timer"
    call, _, after = kill
    return f"{'after' if after else 'before'} os.{call}"


def main() -> int:
    """Tortures, or runs the one program that is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--programs", nargs="+", default=list(PROGRAMS), choices=PROGRAMS, help="the first so many"
    )
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.add_argument("--call", default="", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--after", type=int, default=0, help=argparse.SUPPRESS)
    flags, words = parser.parse_known_args()
    if flags.program:
        sys.argv = [f"{flags.program}.py", *[word for word in words if word != "--"]]
        kill_self_at(flags.call, flags.count, bool(flags.after))
        runpy.run_path(str(LAUNCH / sys.argv[0]), run_name="__main__")
        return 0
    with tempfile.TemporaryDirectory() as place:
        result = torture(flags.kills, flags.seed, flags.programs, Path(place))
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
