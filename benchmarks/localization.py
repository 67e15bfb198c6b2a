"""How well heads localize: every head with several seeds on one phantom, and tests between them.

    python -m benchmarks.localization --out DIR [--seeds 5] [--jobs 2] [--only NAME …]

Every run is trained, gets its box rule from a phantom of another seed (jaxcxr tune_boxes) and is
scored, all by the programs. A run that was scored is not made again: the command resumes. Writes
DIR/runs.csv, two rows per run, and prints the tables of docs/localization.md: means ± standard
deviations over seeds, and p of Welch's t-test of IoU > 0.3 against the best head (Bonferroni).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from scipy.stats import ttest_ind
from tqdm import tqdm

from benchmarks.machine import describe

HEADS: dict[str, list[str]] = {
    "Log-sum-exp": ["demo"],
    "Baseline, maximum": ["demo_baseline"],
    "Space attention": ["demo_baseline", "--config.model.head.name=SpaceAttention"],
    "PCAM": ["demo", "--config.model.head.name=PCAM"],
    "PYLON": ["demo", "--config.model.head.name=Pylon", "--config.model.head.decoder=attention"],
    "Log-sum-exp, three stages": ["demo", "--config.model.backbone.blocks=(2,2,2)"],
    "Attention gated": ["demo_baseline", "--config.model.head.name=AttentionGated"],
    "Baseline, average": ["demo_baseline", "--config.model.head.pooling=average"],
    "Baseline, maximum, demo's recipe": [
        "demo_baseline",
        "--config.augmentation.horizontal_flip=True",
        "--config.epochs=16",
    ],
}
"""Config and changed settings of each head."""

NAMES = str.maketrans(" ", "_", ",'")

SCORES = ["AUC", "pointing", "IoU > 0.1", "IoU > 0.3", "IoU > 0.5", "IoBB > 0.25", "IoBB > 0.5"]


def main() -> None:
    """Makes the runs that are missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--only", nargs="*", default=list(HEADS), choices=HEADS, metavar="NAME")
    parser.add_argument("--image_size", type=int, default=96)
    args = parser.parse_args()
    for seed, name in ((0, "scored"), (1, "tuning")):
        make_dataset(args.out / name, seed, args.image_size)
    runs = [(head, seed) for seed in range(args.seeds) for head in args.only]
    with ThreadPoolExecutor(args.jobs) as pool:
        made = pool.map(lambda run: make_run(args.out, *run, args.image_size), runs)
        for _ in tqdm(made, total=len(runs), unit="run"):
            pass
    table = pd.concat([read_scores(args.out, head, seed) for head, seed in runs])
    table.to_csv(args.out / "runs.csv", index=False)
    print(describe())
    for rule in ("in use", "paper"):
        print(f"\nRule: {rule}\n\n{comparison(table[table['rule'] == rule])}")


def make_dataset(folder: Path, seed: int, image_size: int) -> None:
    """Draws and prepares a phantom of 3,000 radiographs unless it is there."""
    if (folder / "datasets").exists():
        return
    size = max(128, image_size)
    release = f"{folder}/release"
    call("make_phantom", f"--out={release}", "--images=3000", f"--image_size={size}", seed=seed)
    call("prepare", f"--release={release}", f"--data_dir={folder}/datasets", image_size=image_size)


def make_run(out: Path, head: str, seed: int, image_size: int) -> None:
    """Trains, tunes and scores a run unless it is scored."""
    workdir = run_folder(out, head, seed)
    if (workdir / "evaluation" / "localization_cuts.csv").exists():
        return
    config, *settings = HEADS[head]
    scored = {"workdir": workdir, "data_dir": out / "scored" / "datasets"}
    settings += [f"--config.seed={seed}", f"--config.data.image_size={image_size}"]
    call("train", f"--config={config}", *settings, **scored)
    call("tune_boxes", workdir=workdir, data_dir=out / "tuning" / "datasets")
    call("evaluate_auc", bootstraps=2, **scored)
    call("evaluate_boxes", bootstraps=2, **scored)


def run_folder(out: Path, head: str, seed: int) -> Path:
    """Returns the folder of a run."""
    return out / "runs" / f"{head.lower().translate(NAMES)}_{seed}"


def call(verb: str, *arguments: str, **flags: object) -> None:
    """Runs a program; ends with its output where it fails."""
    named = [f"--{name}={value}" for name, value in flags.items()]
    command = [sys.executable, "-m", "jaxcxr.cli", verb, *arguments, *named]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}")


def read_scores(out: Path, head: str, seed: int) -> pd.DataFrame:
    """Returns two rows, the scores of a run by its own box rule and by the paper's."""
    folder = run_folder(out, head, seed) / "evaluation"
    auc = pd.read_csv(folder / "auc.csv").set_index("finding")["auc"]["Mean"]
    pointing = pd.read_csv(folder / "pointing_game.csv").set_index("finding")["accuracy"]["Mean"]
    fits = pd.read_csv(folder / "localization_rules.csv")
    means = fits[fits["finding"] == "Mean"].drop(columns=["finding", "boxes"])
    return means.assign(head=head, seed=seed, AUC=auc, pointing=pointing)


def comparison(table: pd.DataFrame) -> str:
    """Returns a table in Markdown, one line per head."""
    groups = dict(list(table.groupby("head", sort=False)))
    best = max(groups, key=lambda head: groups[head]["IoU > 0.3"].mean())
    lines = [["head", *SCORES, "area ratio", "p"], ["---"] * (len(SCORES) + 3)]
    for head, runs in groups.items():
        cells = [f"{runs[score].mean():.3f} ± {runs[score].std():.3f}" for score in SCORES]
        p = ttest_ind(runs["IoU > 0.3"], groups[best]["IoU > 0.3"], equal_var=False).pvalue
        corrected = min(1, float(p) * (len(groups) - 1))  # Bonferroni
        against_best = "best" if head == best else f"{corrected:.2g}"
        lines.append([head, *cells, f"{runs['area_ratio'].mean():.2f}", against_best])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
