"""How well heads localize: every head with several seeds on phantoms, and tests between them.

    python -m benchmarks.localization --out DIR [--seeds 5] [--jobs 2] [--only NAME …]

Every run is trained on one phantom, gets its box rule from a second one (jaxcxr tune_boxes) and is
scored on a third one, all by the programs: with the head's own heat maps, with LayerCAM of all
stages averaged with that of the mirror image, and with the same averaged over two sizes. What was
scored is not made again: the command resumes. Writes DIR/runs.csv (a row per run, heat map and box
rule) and DIR/findings.csv (the same per finding), and prints the tables of docs/localization.md:
means ± standard deviations over seeds, and p of Welch's t-test of IoU > 0.3 against the best head
(Bonferroni).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind
from tqdm import tqdm

from benchmarks.machine import describe

_WIDER_VIEW = ["demo", "--config.model.backbone.blocks=(2,2)", "--config.epochs=16"]

HEADS: dict[str, list[str]] = {
    "Log-sum-exp, smaller view": ["demo"],
    "Log-sum-exp": _WIDER_VIEW,
    "Baseline, maximum": ["demo_baseline"],
    "Space attention": ["demo_baseline", "--config.model.head.name=SpaceAttention"],
    "PCAM": [*_WIDER_VIEW, "--config.model.head.name=PCAM"],
    "PYLON": [
        *_WIDER_VIEW,
        "--config.model.head.name=Pylon",
        "--config.model.head.decoder=attention",
    ],
    "Log-sum-exp, three stages": [*_WIDER_VIEW, "--config.model.backbone.blocks=(2,2,2)"],
    "Attention gated": ["demo_baseline", "--config.model.head.name=AttentionGated"],
    "Baseline, average": ["demo_baseline", "--config.model.head.pooling=average"],
    "Baseline, maximum, longer recipe": [
        "demo_baseline",
        "--config.augmentation.horizontal_flip=True",
        "--config.epochs=16",
    ],
}
"""Config and changed settings of each head."""

AT_256: dict[str, list[str]] = {
    "demo": [
        "--config.model.backbone.width=16",
        "--config.model.backbone.blocks=(2,2,2)",
        "--config.model.head.stride=8",
    ],
    "demo_baseline": [
        "--config.model.backbone.width=16",
        "--config.model.backbone.blocks=(2,2,2,2)",
    ],
}
"""What the configs need at 256 pixels: networks that two cores train, 32×32 and 8×8 heat maps."""

PHANTOMS = {"trained": 0, "tuning": 1, "scored": 2}
"""Seeds of the phantoms."""

MAPS = {
    "network": [],
    "layer_cam": ["--heatmap=layer_cam", "--flip"],
    "layer_cam_sizes": ["--heatmap=layer_cam", "--flip", "--size_factor=1", "--size_factor=1.25"],
}
"""The heat maps that are scored, and the flags that ask for them."""

NAMES = str.maketrans(" ", "_", ",'")

SCORES = ["AUC", "pointing", "IoU > 0.1", "IoU > 0.3", "IoU > 0.5", "IoBB > 0.25", "IoBB > 0.5"]


def main() -> None:
    """Makes the runs that are missing and prints the tables."""
    parser = argparse.ArgumentParser(description="Compares how well heads localize.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--only", nargs="*", default=list(HEADS), choices=HEADS, metavar="NAME")
    parser.add_argument("--maps", nargs="*", default=list(MAPS), choices=MAPS, metavar="MAPS")
    parser.add_argument("--image_size", type=int, default=96)
    args = parser.parse_args()
    for name, seed in PHANTOMS.items():
        make_dataset(args.out / name, seed, args.image_size)
    runs = [(head, seed) for seed in range(args.seeds) for head in args.only]
    with ThreadPoolExecutor(args.jobs) as pool:
        made = pool.map(lambda run: make_run(args.out, *run, args.image_size, args.maps), runs)
        for _ in tqdm(made, total=len(runs), unit="run"):
            pass
    tables = [read_scores(args.out, head, seed, maps) for head, seed in runs for maps in args.maps]
    findings = pd.concat(tables)
    findings.to_csv(args.out / "findings.csv", index=False)
    table = findings[findings["finding"] == "Mean"].drop(columns="finding")
    table.to_csv(args.out / "runs.csv", index=False)
    print(describe())
    for maps in args.maps:
        for rule in ("in use", "paper"):
            part = table.query("maps == @maps and rule == @rule")
            print(f"\nHeat maps: {maps}; rule: {rule}\n\n{comparison(part)}")


def make_dataset(folder: Path, seed: int, image_size: int) -> None:
    """Draws and prepares a phantom of 3,000 radiographs unless it is there."""
    if (folder / "datasets").exists():
        return
    size = max(128, image_size)
    release = f"{folder}/release"
    call("make_phantom", f"--out={release}", "--images=3000", f"--image_size={size}", seed=seed)
    call("prepare", f"--release={release}", f"--data_dir={folder}/datasets", image_size=image_size)


def make_run(out: Path, head: str, seed: int, image_size: int, wanted: list[str]) -> None:
    """Trains, tunes and scores a run, as far as that is not done."""
    workdir = run_folder(out, head, seed)
    config, *settings = HEADS[head]
    scored = {"workdir": workdir, "data_dir": out / "scored" / "datasets"}
    if not (workdir / "evaluation" / "auc.csv").exists():
        settings = [*settings, *(AT_256[config] if image_size == 256 else [])]
        settings += [f"--config.seed={seed}", f"--config.data.image_size={image_size}"]
        data_dir = out / "trained" / "datasets"
        call("train", f"--config={config}", *settings, workdir=workdir, data_dir=data_dir)
        call("evaluate_auc", bootstraps=2, **scored)
    stages = [f"--stage={stage + 1}" for stage in range(number_of_stages(workdir))]
    for maps in wanted:
        flags = MAPS[maps]
        if not (workdir / maps).exists():
            flags = [*flags, *stages] if "layer_cam" in maps else flags
            call("tune_boxes", *flags, workdir=workdir, data_dir=out / "tuning" / "datasets")
            call("evaluate_boxes", *flags, bootstraps=2, **scored)
            shutil.copytree(workdir / "evaluation", workdir / maps)


def number_of_stages(workdir: Path) -> int:
    """Returns how many stages the backbone of a run has."""
    return len(json.loads((workdir / "config.json").read_text())["model"]["backbone"]["blocks"])


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


def read_scores(out: Path, head: str, seed: int, maps: str) -> pd.DataFrame:
    """Returns the scores of a run per finding, by its own box rule and by the paper's."""
    folder = run_folder(out, head, seed) / maps
    auc = pd.read_csv(folder / "auc.csv").set_index("finding")["auc"]
    pointing = pd.read_csv(folder / "pointing_game.csv").set_index("finding")["accuracy"]
    fits = pd.read_csv(folder / "localization_rules.csv").drop(columns="boxes")
    scores = fits.join(auc.rename("AUC"), on="finding").join(pointing.rename("pointing"), "finding")
    return scores.assign(head=head, seed=seed, maps=maps)


def comparison(table: pd.DataFrame) -> str:
    """Returns a table in Markdown, one line per head."""
    groups = {str(head): runs for head, runs in table.groupby("head", sort=False)}
    best = max(groups, key=lambda head: groups[head]["IoU > 0.3"].mean())
    lines = [["head", "seeds", *SCORES, "area ratio", "p"], ["---"] * (len(SCORES) + 4)]
    for head, runs in groups.items():
        cells = [f"{runs[score].mean():.3f} ± {runs[score].std():.3f}" for score in SCORES]
        p = np.array(ttest_ind(runs["IoU > 0.3"], groups[best]["IoU > 0.3"], equal_var=False))[1]
        corrected = min(1, float(p) * (len(groups) - 1))  # Bonferroni
        against_best = "best" if head == best else f"{corrected:.2g}"
        lines.append(
            [head, f"{len(runs)}", *cells, f"{runs['area_ratio'].mean():.2f}", against_best]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
