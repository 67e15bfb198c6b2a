"""The program that scores heat maps, run as a user runs it."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jaxcxr.evaluation.boxes import enlarge
from tests.programs import forked


@pytest.fixture(scope="module")
def launch():
    absent = ["jax", "flax", "tensorflow", "torch"]
    with forked("evaluation.map_files", "reporting.score_text", absent=absent) as launch:
        yield launch


def test_maps_of_every_form_are_scored(launch, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"0000000{n}_000.png" for n in range(3)]
    small = {name: rng.integers(1, 255, (4, 5)).astype(np.uint8) for name in names}
    maps, place = tmp_path / "maps", {"first_center": 9.5, "stride": 20.0, "square": "squash"}
    maps.mkdir()
    np.savez(
        maps / f"{names[0]}.npz", heatmaps=small[names[0]][:4, :4, None].astype(np.float32),
        findings=["Mass"], image_size=80, width=40, height=40, **place,
    )  # fmt: skip
    np.savez(maps / "00000001_000.npz", Mass=small[names[1]])
    Image.fromarray(small[names[2]]).save(maps / "00000002_000_Mass.png")
    boxes = tmp_path / "boxes.csv"
    rows = [f"{name},Mass,5,10,20,15,40,40" for name in names]
    boxes.write_text("\n".join(["Image Index,Finding Label,x,y,w,h,width,height", *rows]) + "\n")
    flags = [f"--maps={maps}", f"--masks={boxes}", f"--out={tmp_path / 'out'}"]
    done = launch("evaluate_maps", *flags, "--cut=0.5")
    assert done.returncode == 0, done.stderr
    assert "3 heat maps; masks of 3 images of 3 patients" in done.stdout
    mask = np.zeros((40, 40), bool)
    mask[10:25, 5:25] = True
    cases = pd.read_csv(tmp_path / "out" / "map_cases.csv")
    for name, overlap in zip(cases["image_name"], cases["iou"], strict=True):
        heat = enlarge(small[name][:, :4] if name == names[0] else small[name], 40, 40)
        hot = (heat - heat.min()) / np.ptp(heat) > 0.5
        assert overlap == pytest.approx((hot & mask).sum() / (hot | mask).sum())
    tuned = launch("evaluate_maps", *flags, f"--tune_maps={maps}", f"--tune_masks={boxes}")
    assert tuned.returncode == 0, tuned.stderr
    at_half = cases["iou"].mean()
    assert pd.read_csv(tmp_path / "out" / "map_scores.csv")["miou"][0] >= at_half - 1e-12
    np.save(maps / "other_Mass.npy", small[names[0]])
    table = tmp_path / "probabilities.csv"
    rows = [f"{name},{p}" for name, p in zip([*names, "other"], (0.9, 0.8, 0.7, 0.05), strict=True)]
    table.write_text("\n".join(["Image Index,prob_Mass", *rows]) + "\n")
    done = launch(
        "evaluate_maps", *flags, f"--tune_maps={maps}", f"--tune_masks={boxes}",
        f"--probabilities={table}", f"--tune_probabilities={table}", "--notrue_positives",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 more images have heat maps and no masks" in done.stdout
    assert "1 heat maps are empty" in done.stdout
    scores = pd.read_csv(tmp_path / "out" / "map_scores.csv")
    assert scores[["cut", "cutoff", "images"]].iloc[0].tolist() == ["otsu", 0.1, 3]


def test_wrong_files_are_refused(launch, tmp_path):
    masks = tmp_path / "masks.json"
    masks.write_text(json.dumps({"a": {"img_size": [9, 9], "Mass": [[[1, 1], [5, 1], [5, 5]]]}}))
    pickled, shapes = tmp_path / "pickled", tmp_path / "shapes"
    pickled.mkdir()
    shapes.mkdir()
    np.save(pickled / "a_Mass.npy", np.array([{}], object), allow_pickle=True)
    np.save(shapes / "a_Mass.npy", np.ones((2, 9, 9)))
    flags = [f"--maps={pickled}", f"--masks={masks}", f"--out={tmp_path / 'out'}"]
    for words, problem in (
        ([f"--maps={shapes}", *flags[1:]], "a_Mass.npy: a heat map of the shape (2, 9, 9)"),
        (flags, "a_Mass.npy cannot be read as a heat map"),
        ([*flags, "--cut=0.5", "--tune_maps=x"], "give --tune_maps with --tune_masks, or --cut"),
    ):
        done = launch("evaluate_maps", *words)
        assert done.returncode in (1, 2)
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
