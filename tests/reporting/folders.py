"""Folders of runs as training and evaluation leave them, without either."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcxr.evaluation import finding_scores, tables
from jaxcxr.evaluation.boxes import BoxRule, heatmap_boxes, peak_point
from jaxcxr.evaluation.localization import cut_table, overlap_table, pointing_game, score_boxes
from jaxcxr.evaluation.outcome import localization_intervals, localization_table
from jaxcxr.evaluation.published_protocol import published_outcome
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS
from jaxcxr.images.grid import tiles

SIZE, GRID = 32, 8
WIDTH, HEIGHT = 128, 64
IMAGES = tuple(f"{patient:08d}_{k:03d}.png" for patient in range(20) for k in range(3))
FACTS = {
    "jaxcxr": "0.1.0",
    "commit": "abc1234",
    "python": "3.11.7",
    "packages": {"jax": "0.10.2"},
    "device": "cpu",
    "devices": 1,
    "started": "2026-01-02T03:04:05+00:00",
    "data": {"dataset": "chest_xray14/32/1.0.0", "release": "ward", "synthetic": False}
    | {"train": 2075, "validation": 20, "test": 60},
}
HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "loss": [9.0, 7.0, 6.0], "val_loss": [9.5, 8, 8.5]})


def config(head: str) -> dict[str, object]:
    return {
        "model": {"backbone": {"name": "ResNet18", "blocks": [2, 2]}, "head": {"name": head}},
        "loss": "weighted_cross_entropy",
        "optimizer": {"learning_rate": 0.001, "weight_decay": 0.0, "clip_norm": None},
    }


def write_classification(folder: Path, seed: int, images: tuple[str, ...]) -> None:
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(7).integers(2, size=(len(images), len(FINDINGS)))
    probabilities = 1 / (1 + np.exp(-rng.normal(1.5 * truth, 1)))
    people = {tables.IMAGE: images, tables.PATIENT: [int(name[:8]) for name in images]}
    people |= {tables.AGE: 50, tables.SEX: "F", tables.VIEW: "PA"}
    labels = pd.DataFrame({**people, **dict(zip(FINDINGS, truth.T, strict=True))})
    predictions = pd.DataFrame(probabilities, columns=list(FINDINGS))
    predictions.insert(0, tables.IMAGE, images)
    scores = finding_scores.score_table(labels, predictions, bootstraps=20, seed=0)
    tables.write(scores.loc[:, finding_scores.AUC_COLUMNS], folder / "auc.csv")
    tables.write(labels, folder / "labels.csv")
    tables.write(predictions, folder / "predictions.csv")


def write_localization(folder: Path, seed: int, images: tuple[str, ...]) -> None:
    rng = np.random.default_rng(seed)
    case_image = np.arange(len(images))
    corner = np.random.default_rng(8).integers(0, [WIDTH - 40, HEIGHT - 20], (len(images), 2))
    findings = [BOXED_FINDINGS[k % len(BOXED_FINDINGS)] for k in case_image]
    annotated = pd.DataFrame({"image_name": images, "finding": findings}).assign(
        **dict(zip("xywh", (*corner.T, 40, 20), strict=True)), width=WIDTH, height=HEIGHT
    )
    heatmaps = rng.random((len(images), GRID, GRID)).astype(np.float32)
    boxes = [heatmap_boxes(heat, WIDTH, HEIGHT).boxes[0] for heat in heatmaps]
    predicted = annotated.assign(**dict(zip("xywh", np.array(boxes).T, strict=True)), score=0.5)
    by_paper = overlap_table(annotated, predicted).assign(drawn_by="network; the paper's cut")
    half, cuts = annotated.assign(w=20, h=20), (0.5, 180 / 255, "otsu")
    by_cut = [
        heatmap_boxes(heat, WIDTH, HEIGHT, None, BoxRule(cuts=cuts)).table(*case, 1, WIDTH, HEIGHT)
        for heat, case in zip(heatmaps, zip(images, findings, strict=True), strict=True)
    ]
    drawn_by = [f"layer_cam, stage 1; cut of {finding}" for finding in by_paper["finding"]]
    in_use = overlap_table(annotated, half).assign(drawn_by=drawn_by)
    at_cuts = cut_table(annotated, pd.concat(by_cut), cuts)
    patients = annotated["image_name"].str[:8].to_numpy()
    outcome = score_boxes(annotated, predicted)
    published = localization_table(published_outcome(annotated, predicted))
    peaks = np.stack([peak_point(heat, WIDTH, HEIGHT) for heat in heatmaps])
    pointing = pointing_game(annotated, peaks)
    ends, pointing_ends = (
        localization_intervals(some, patients, bootstraps=20) for some in (outcome, pointing)
    )
    for name, table in {
        "annotated_boxes": tables.box_table(annotated),
        "boxes": tables.box_table(predicted),
        "localization": localization_table(outcome),
        "localization_intervals": ends,
        "localization_published": published,
        "localization_rules": pd.concat(
            [in_use.assign(rule="in use"), by_paper.assign(rule="paper")]
        ),
        "localization_cuts": at_cuts.assign(scale="range"),
        "pointing_game": localization_table(pointing).merge(pointing_ends),
    }.items():
        tables.write(table, folder / f"{name}.csv")
    radiographs = np.random.default_rng(9).integers(256, size=(len(images), SIZE, SIZE))
    np.savez_compressed(
        folder / "cases.npz",
        images=radiographs.astype(np.uint8),
        png_size=np.tile(np.array([WIDTH, HEIGHT], np.int32), (len(images), 1)),
        case_image=case_image,
        case_finding=np.array(findings),
        heatmaps=heatmaps,
        grid=np.array(tiles(SIZE, GRID)),
        square=np.array("squash"),
    )


def write_run(workdir: Path, seed: int, images: tuple[str, ...]) -> None:
    """Writes the folder of a run; `seed` stands for its network."""
    workdir.mkdir(parents=True)
    head = ("Baseline", "SpaceAttention", "AttentionGated")[seed % 3]
    (workdir / "config.json").write_text(json.dumps(config(head)))
    (workdir / "run.json").write_text(json.dumps(FACTS))
    HISTORY.to_csv(workdir / "history.csv", index=False)
    write_classification(workdir / "evaluation", seed, images)
    write_localization(workdir / "evaluation", seed, images)
