"""A folder of phantoms in the layout of an NIH release."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from jaxcxr.data.phantom.anatomy import View
from jaxcxr.data.phantom.radiograph import draw_radiograph, require_size
from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write
from jaxcxr.findings import FINDINGS, NO_FINDING

DATA_ENTRY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"

HEALTHY = 0.35
"""Share of the radiographs without any finding (NIH's: 0.54)."""

FURTHER = 0.05
"""Probability of each other finding to come along."""

COMPANIONS = {
    ("Cardiomegaly", "Effusion"): 0.25,
    ("Edema", "Effusion"): 0.25,
    ("Edema", "Cardiomegaly"): 0.25,
    ("Effusion", "Atelectasis"): 0.20,
    ("Emphysema", "Pneumothorax"): 0.20,
    ("Fibrosis", "Pleural_Thickening"): 0.20,
    ("Pneumonia", "Infiltration"): 0.15,
    ("Mass", "Nodule"): 0.15,
}
"""Probability of the second finding, in place of `FURTHER`, where the first is the first one."""

TEST_SHARE = 0.25
"""Share of the images that the test list takes, patient by patient."""

MARKER = "phantom.json"
"""File of a finished phantom release: its parameters, and that it is synthetic."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one radiograph of a release will show; drawn before any pixel is."""

    number: int
    name: str
    patient: int
    follow_up: int
    age: int
    sex: str
    view: View
    findings: tuple[str, ...]
    in_test: bool


def plan_release(images: int, seed: int) -> list[Plan]:
    """Draws patients, their visits and findings.

    A patient has 1 to 6 radiographs. The frequencies are this module's constants: they give each
    finding about 8 to 12 % of the images, more than NIH's, so that a small release teaches.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 0)))
    plans: list[Plan] = []
    patient = tested = 0
    while len(plans) < images:
        patient += 1
        visits = min(int(rng.integers(1, 7)), images - len(plans))
        age, sex = int(rng.integers(20, 90)), str(rng.choice(("F", "M")))
        in_test = tested < TEST_SHARE * (len(plans) + visits)
        tested += visits * in_test
        for visit in range(visits):
            plans.append(
                Plan(
                    number=len(plans),
                    name=f"{patient:08d}_{visit:03d}.png",
                    patient=patient,
                    follow_up=visit,
                    age=age,
                    sex=sex,
                    view="PA" if rng.random() < 0.6 else "AP",
                    findings=_draw_findings(rng),
                    in_test=in_test,
                )
            )
    return plans


def write_release(
    out: Path, images: int, image_size: int, seed: int, jobs: int | None = None
) -> bool:
    """Draws a release and writes it under `out`; the same arguments give the same bytes.

    Args:
        out: Folder of the release; it appears when everything in it is written.
        images: Number of radiographs.
        image_size: Their height and width in pixels.
        seed: Decides about everything.
        jobs: Worker threads; as many as there are cores where not given.

    Returns:
        False where `out` already holds this very release and nothing was drawn.

    Raises:
        UserError: A number is out of range, or `out` holds something else.
    """
    require_size(image_size)
    if images < 8:
        raise UserError(f"images is {images}; a release of phantoms has at least 8")
    if seed < 0:
        raise UserError(f"seed is {seed}; it must be 0 or more")
    facts = {"synthetic": True, "images": images, "image_size": image_size, "seed": seed}
    if out.exists():
        if _facts_of(out) == facts:
            return False
        raise UserError(
            f"{out} exists and is not a phantom release of {images} images, {image_size} pixels, "
            f"seed {seed}; remove it or name another folder",
            argument="out",
        )
    with atomic_write(out) as folder:
        (folder / "images").mkdir(parents=True)
        _write_files(folder, plan_release(images, seed), image_size, seed, jobs)
        (folder / MARKER).write_text(json.dumps(facts, indent=2) + "\n")
    return True


def _draw_findings(rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() < HEALTHY:
        return ()
    first = str(rng.choice(FINDINGS))
    return tuple(
        finding
        for finding in FINDINGS
        if finding == first or rng.random() < COMPANIONS.get((first, finding), FURTHER)
    )


def _facts_of(out: Path) -> dict[str, int] | None:
    try:
        return json.loads((out / MARKER).read_text())
    except (OSError, ValueError):
        return None


def _write_files(
    folder: Path, plans: list[Plan], image_size: int, seed: int, jobs: int | None
) -> None:
    boxes: list[str] = []
    draw = functools.partial(_draw, folder / "images", image_size, seed)
    pool = ThreadPoolExecutor(jobs or os.cpu_count())
    try:
        drawn = zip(plans, pool.map(draw, plans), strict=True)
        for plan, rows in tqdm(drawn, "phantoms", total=len(plans), unit="image", disable=None):
            boxes += rows if plan.in_test else []
    finally:
        pool.shutdown(cancel_futures=True)
    _write(folder / "Data_Entry_2017_v2020.csv", [DATA_ENTRY_HEADER, *map(_entry, plans)])
    _write(folder / "BBox_List_2017.csv", [BOX_HEADER, *boxes])
    _write(folder / "train_val_list.txt", [plan.name for plan in plans if not plan.in_test])
    _write(folder / "test_list.txt", [plan.name for plan in plans if plan.in_test])


def _entry(plan: Plan) -> str:
    labels = "|".join(plan.findings) or NO_FINDING
    return (
        f"{plan.name},{labels},{plan.follow_up},{plan.patient},{plan.age},{plan.sex},{plan.view},"
        "2500,2500,0.143,0.143"
    )


def _write(path: Path, lines: list[str]) -> None:
    """Writes lines as NIH does: the lists end without a newline, the tables with one."""
    path.write_text("\n".join(lines) + ("\n" if path.suffix == ".csv" else ""), encoding="utf-8")


def _draw(folder: Path, image_size: int, seed: int, plan: Plan) -> list[str]:
    """Writes an image; returns the rows that its boxes give the box list."""
    phantom = draw_radiograph(
        plan.findings,
        image_size=image_size,
        seed=np.random.SeedSequence((seed, 1, plan.number)),
        patient_seed=np.random.SeedSequence((seed, 2, plan.patient)),
        view=plan.view,
    )
    Image.fromarray(phantom.image).save(folder / plan.name, compress_level=1)
    return [
        f"{plan.name},{'Infiltrate' if finding == 'Infiltration' else finding},{x},{y},{w},{h}"
        for finding, (x, y, w, h) in phantom.boxes.items()
    ]
