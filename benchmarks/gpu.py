"""All that is to be measured on a machine with GPUs, in one command.

python -m benchmarks.gpu

Writes benchmarks/results/DEVICE-DATE.jsonl: each network's training step against PyTorch, inference
against PyTorch, epochs of resident radiographs against the step alone, and the scaling over GPUs.
Needs PyTorch; neither TensorFlow nor a dataset.
"""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks import networks
from benchmarks.machine import gpus

_RESULTS = Path(__file__).parent / "results"
_WORK = ("--image_size=256", "--batch_size=128")
_BFLOAT16 = "--compute_dtype=bfloat16"


def commands(gpu_count: int) -> list[list[str]]:
    """Returns the benchmarks and their flags."""
    found = [
        ["train_step", f"--network={name}", *_WORK, _BFLOAT16, "--steps=10"]
        for name in networks.NETWORKS
    ]
    found += [
        ["inference", f"--network={name}", *_WORK, "--steps=10"] for name in networks.NETWORKS
    ]
    found += [
        ["epoch", f"--placement={placement}", "--images=5120", *_WORK, _BFLOAT16]
        for placement in ("device", "host")
    ]
    if gpu_count > 1:
        found.append(["scaling", f"--devices={gpu_count}", *_WORK, _BFLOAT16, "--steps=10"])
    return found


def main() -> int:
    """Runs every benchmark; returns 1 where one failed."""
    names = gpus()
    if not names:
        print("error: no NVIDIA GPU here (nvidia-smi -L names none)", file=sys.stderr)
        return 1
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    out = _RESULTS / f"{re.sub(r'[^a-z0-9]+', '_', names[0].lower())}-{today}.jsonl"
    out.parent.mkdir(exist_ok=True)
    # Two processes take turns on one GPU: neither may take all of its memory.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    failed = 0
    for program, *arguments in tqdm(commands(len(names)), unit="benchmark"):
        command = [sys.executable, "-m", f"benchmarks.{program}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            failed = 1
            tqdm.write(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
            continue
        line = done.stdout.splitlines()[-1]
        tqdm.write(line)
        with open(out, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    print(f"written to {out}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
