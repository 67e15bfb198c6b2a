"""Kills a tiny training with SIGKILL again and again, and checks that nothing of it shows.

    python tests/torture/kill_training.py --kills 50 --seed 0

A training runs in a process of its own. It is killed at a random time, or just before or after a
random call by which files are renamed, flushed, opened or removed; then the same command is given
again, until the training is done. Its parameters, statistics and averages must be those of a
training that nobody killed, bit for bit, and so must history.csv but for its times. The next
training begins in a new folder, until there were enough kills.

Prints one line of JSON; ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
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

import numpy as np
import pandas as pd
from tqdm import tqdm

CALLS = ("rename", "replace", "fsync", "open", "unlink", "rmdir", "mkdir")
TIMES = ["seconds", "images_per_second"]
EPOCHS, STEPS, EVERY = 7, 9, 4


def train(workdir: Path, call: str, count: int, after: bool) -> None:
    """Trains in this process, which kills itself at the `count`-th `call` of module os."""
    import jaxcxr as cxr
    from jaxcxr.runs.callbacks import StopOnSignals
    from jaxcxr.training.augmentation import Augmentation

    rng = np.random.default_rng(0)
    labels = (rng.random((8 * STEPS, 14)) < 0.3).astype(np.uint8)
    noise = rng.integers(0, 100, (8 * STEPS, 16, 16, 1))
    split = cxr.ArraySplit((noise + 100 * labels[:, :1, None, None]).astype(np.uint8), labels)

    class CountSteps(cxr.Callback):
        def pauses_after(self, step: int) -> bool:
            with open(workdir.parent / "steps", "ab") as file:
                file.write(b".")
            return False

    def fit() -> cxr.Run:
        return cxr.fit(
            cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline()),
            split,
            validation_data=split,
            epochs=EPOCHS,
            batch_size=8,
            optimizer=cxr.adam(3e-2),
            augmentation=Augmentation(horizontal_flip=True),
            ema_decay=0.9,
            verbose=False,
            callbacks=[
                CountSteps(),
                cxr.EarlyStopping(patience=2, min_delta=0.5),  # after 5 of 7 epochs
                StopOnSignals(),
                cxr.BackupAndRestore(workdir, every=EVERY),
                cxr.CSVLogger(workdir / "history.csv"),
            ],
        )

    if call:
        kill_self_at(call, count, after)
    trained, restored = fit(), fit()  # the second one finds nothing to do and reads the checkpoint
    for name, variables in (("trained", trained.variables), ("restored", restored.variables)):
        np.savez(workdir.parent / name, **flat(variables))


def flat(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of a tree under their paths."""
    arrays = {}
    for name, value in tree.items():
        path = f"{prefix}{name}."
        arrays |= flat(value, path) if isinstance(value, dict) else {path: np.asarray(value)}
    return arrays


def kill_self_at(call: str, count: int, after: bool) -> None:
    """Makes the `count`-th `call` from now on the last one of this process."""
    original, calls = getattr(os, call), Counter()

    def last(*args, **kwargs):
        calls[call] += 1
        if calls[call] == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls[call] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, call, last)


def attempt(folder: Path, *arguments: str, kill_after: float | None = None) -> int:
    """Runs the training once; returns the exit status, negative where it was killed."""
    command = [sys.executable, __file__, f"--workdir={folder / 'run'}", *arguments]
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            return process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def differences(ours: Path, theirs: Path) -> list[str]:
    """Returns in what two trainings differ that should be the same."""
    different = []
    for name in ("trained", "restored"):
        with np.load(ours / f"{name}.npz") as a, np.load(theirs / "trained.npz") as b:
            different += [
                f"{name} {path}"
                for path in a.keys() | b.keys()
                if path not in a or path not in b or a[path].tobytes() != b[path].tobytes()
            ]
    a, b = (pd.read_csv(run / "run/history.csv", dtype=str) for run in (ours, theirs))
    if not a.drop(columns=TIMES).equals(b.drop(columns=TIMES)):
        different.append("history.csv")
    kept = [sorted(os.listdir(run / "run/checkpoints")) for run in (ours, theirs)]
    if kept[0] != kept[1]:
        different.append(f"checkpoints {kept[0]} and {kept[1]}")
    files = [sorted(os.listdir(run / "run")) for run in (ours, theirs)]
    if files[0] != files[1]:
        different.append(f"files {files[0]} and {files[1]}")
    return different


def torture(kills: int, seed: int, place: Path) -> dict[str, object]:
    """Returns what `kills` kills did."""
    rng, whole = random.Random(seed), place / "whole"
    whole.mkdir()
    began = time.monotonic()
    assert attempt(whole) == 0, (whole / "log.txt").read_text()
    lasts = time.monotonic() - began
    how: Counter[str] = Counter()
    failures, rounds, steps, expected = [], 0, 0, (whole / "steps").stat().st_size
    shown = tqdm(total=kills, unit="kill")
    while sum(how.values()) < kills:
        ours = place / f"round_{rounds}"
        ours.mkdir()
        rounds += 1
        for _ in range(10 * kills):
            if sum(how.values()) >= kills:
                status, kind = attempt(ours), ""
            elif rng.random() < 0.4:
                kind = "timer"
                status = attempt(ours, kill_after=rng.uniform(0, lasts))
            else:
                call, after = rng.choice(CALLS), rng.random() < 0.5
                kind = f"{'after' if after else 'before'} os.{call}"
                count = 1 + int(rng.expovariate(1 / (40 if call in ("open", "fsync") else 6)))
                status = attempt(ours, f"--call={call}", f"--count={count}", f"--after={after:d}")
            if status >= 0:
                break
            how[kind] += 1
            shown.update()
        if status != 0:
            failures.append({"round": rounds - 1, "status": status, "log": tail(ours)})
        else:
            steps += (ours / "steps").stat().st_size - expected
            different = differences(ours, whole)
            failures += [{"round": rounds - 1, "different": different}] if different else []
    shown.close()
    return {
        "kills": sum(how.values()),
        "how": dict(sorted(how.items())),
        "trainings": rounds,
        "identical": rounds - len(failures),
        "steps_done_again_per_kill": round(steps / sum(how.values()), 2),
        "failures": failures,
        "seconds": round(time.monotonic() - began),
    }


def tail(folder: Path) -> list[str]:
    """Returns the last lines of a training's log."""
    return (folder / "log.txt").read_text().splitlines()[-5:]


def main() -> int:
    """Tortures, or trains once where a folder is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder to leave everything in")
    parser.add_argument("--workdir", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--call", default="", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--after", type=int, default=0, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.workdir:
        train(flags.workdir, flags.call, flags.count, bool(flags.after))
        return 0
    place = flags.keep or Path(tempfile.mkdtemp())
    place.mkdir(parents=True, exist_ok=True)
    try:
        result = torture(flags.kills, flags.seed, place)
    finally:
        if not flags.keep:
            shutil.rmtree(place)
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
