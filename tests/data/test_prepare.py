import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jaxcxr.data import load, prepare, read_release, split_by_patient
from jaxcxr.data.splits import authors_split
from jaxcxr.errors import UserError
from tests.data.conftest import spoil

ROOT = Path(__file__).parents[2]


def names_of(folder: Path) -> dict[str, str]:
    """Returns the split of each prepared radiograph by name."""
    data = load(folder, 16)
    return {
        name: split
        for split in ("train", "validation", "test")
        for name in getattr(data, split).in_memory().fields["image_name"]
    }


def test_the_dataset_opens_without_this_package(prepared):
    _, data_dir = prepared
    program = f"""
import sys
sys.modules["jaxcxr"] = None  # importing it fails from here on
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory({os.fspath(data_dir / "chest_xray14/32/1.0.0")!r})
for split, count in (("train", 70), ("validation", 10), ("test", 20)):
    assert builder.info.splits[split].num_examples == count
for record in builder.as_dataset("test").take(2):
    assert record["image"].shape == (32, 32, 1) and record["image"].dtype == "uint8"
    assert record["boxes"]["box"].shape[1:] == (4,)
assert builder.info.features["boxes"]["finding"].names[0] == "Atelectasis"
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd="/", stderr=subprocess.PIPE)


def test_preparing_again_changes_nothing(prepared):
    folder, data_dir = prepared
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    again = prepare(read_release(folder.root), data_dir, image_size=32)
    assert again.reused
    assert again.images == {"train": 70, "validation": 10, "test": 20}
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")} == before


def test_the_dataset_of_another_release_is_not_reused(prepared, make_release):
    _, data_dir = prepared
    other = make_release(patients=10)
    with pytest.raises(UserError, match=r"was prepared from other lists or files .*'release'"):
        prepare(read_release(other.root), data_dir, image_size=32)
    relabeled = make_release("labels", patients=50)
    relabeled.edit(relabeled.metadata, "Hernia,0,3,", "Mass,0,3,")
    with pytest.raises(UserError, match="remove it or choose another folder"):
        prepare(read_release(relabeled.root), data_dir, image_size=32)


def test_variants_lie_side_by_side(make_release, tmp_path):
    release = read_release(make_release(patients=10).root)
    prepare(release, tmp_path, image_size=16)
    prepare(release, tmp_path, image_size=16, split_seed=3)
    prepare(release, tmp_path, image_size=16, split="authors")
    names = {path.name for path in (tmp_path / "chest_xray14").iterdir()}
    assert names == {"16", "16_authors", "16_seed3"}
    validation = load(tmp_path, 16, split="authors").validation
    assert validation.num_images == (authors_split(release.images) == "validation").sum()


@pytest.mark.parametrize("square", ["squash", "pad"])
def test_radiographs_that_are_not_square(make_release, tmp_path, square):
    """The reference resizes with Pillow and places by hand; boxes stay in the file's pixels."""
    folder = make_release(patients=10)
    path, pixels = folder.image("00000005_000.png"), np.zeros((50, 100), np.uint8)
    pixels[:, 60:] = 200
    Image.fromarray(pixels).save(path)
    release = read_release(folder.root)
    prepare(release, tmp_path, image_size=16, square=square)
    data = load(tmp_path, 16, square=square)
    assert data.facts["square"] == square
    held = data.test.in_memory().fields
    image = held["image"][list(held["image_name"]).index("00000005_000.png"), ..., 0]
    expected = np.zeros((16, 16), np.uint8)
    rows = slice(4, 12) if square == "pad" else slice(16)
    size = (16, rows.stop - rows.start) if square == "pad" else (16, 16)
    bilinear = Image.Resampling.BILINEAR
    expected[rows] = np.asarray(Image.fromarray(pixels).resize(size, bilinear))
    np.testing.assert_array_equal(image, expected)
    boxes = data.test.boxes().set_index("image_name").loc["00000005_000.png"]
    in_file = np.array([38.4, 64, 256, 211.2]) * [100 / 1024, 50 / 1024, 100 / 1024, 50 / 1024]
    np.testing.assert_allclose(boxes[["x", "y", "w", "h"]].to_numpy(float), in_file, rtol=1e-6)
    with pytest.raises(UserError, match="no such dataset"):
        load(tmp_path, 16, square="pad" if square == "squash" else "squash")


def damage(folder) -> None:
    """Cuts one file short, and spoils another one in a way that only decoding shows."""
    short = folder.image("00000001_000.png")
    short.write_bytes(short.read_bytes()[:-50])
    spoil(folder.image("00000005_001.png"))


def test_damaged_radiographs_are_refused_together(make_release, tmp_path):
    folder = make_release()
    damage(folder)
    with pytest.raises(UserError, match=r"^damaged radiographs: 2; .* on_bad_image=skip") as caught:
        prepare(read_release(folder.root), tmp_path, image_size=16)
    assert "00000001_000.png: " in str(caught.value)
    assert "00000005_001.png: " in str(caught.value)
    assert not list(tmp_path.rglob("*.tfrecord*"))


def test_damaged_radiographs_are_left_out_when_asked(make_release, tmp_path):
    folder = make_release()
    damage(folder)
    folder.image("00000008_000.png").unlink()
    release = read_release(folder.root, allow_missing=True)
    for reused in (False, True):
        done = prepare(release, tmp_path, image_size=16, on_bad_image="skip")
        assert done.reused == reused
        assert sum(done.images.values()) == 37
        assert done.left_out["00000008_000.png"] == "no file"
        table = pd.read_csv(done.folder / "skipped.csv")
        assert dict(table.to_numpy().tolist()) == done.left_out
        assert set(table["Image Index"]) == {f"0000000{n}.png" for n in ("1_000", "5_001", "8_000")}
        (done.folder / "skipped.csv").unlink()  # as if the first call had been stopped before it
    assert set(names_of(tmp_path)) == set(release.image_paths) - set(table["Image Index"])


def test_a_split_without_usable_radiographs_is_refused(make_release, tmp_path):
    folder = make_release(patients=5)
    for name in folder.test.read_text().split():
        folder.image(name).write_bytes(b"")
    with pytest.raises(UserError, match="no usable radiograph for the test split: all 2"):
        prepare(read_release(folder.root), tmp_path / "out", image_size=16, on_bad_image="skip")
    for name in folder.test.read_text().split():
        folder.image(name).unlink()
    with pytest.raises(UserError, match="the test split would be empty"):
        prepare(read_release(folder.root, allow_missing=True), tmp_path / "out", image_size=16)


def test_patients_stay_in_their_split_in_a_partial_download(make_release, tmp_path):
    folder = make_release()
    complete = read_release(folder.root)
    split = dict(zip(complete.images["image_name"], split_by_patient(complete.images), strict=True))
    for patient in range(1, 20, 3):
        folder.image(f"{patient:08d}_000.png").unlink()
    done = prepare(read_release(folder.root, allow_missing=True), tmp_path, image_size=16)
    assert names_of(tmp_path) == {name: split[name] for name in split if name not in done.left_out}


def test_two_preparations_do_not_meet(make_release, tmp_path):
    release = read_release(make_release(patients=10).root)
    place = tmp_path / "chest_xray14/16"
    place.mkdir(parents=True)
    with open(place / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is preparing this dataset"):
            prepare(release, tmp_path, image_size=16)
    assert not prepare(release, tmp_path, image_size=16).reused
    assert {path.name for path in place.iterdir()} == {".lock", "1.0.0"}


def command(*flags: str) -> list[str]:
    return [sys.executable, os.fspath(ROOT / "launch/prepare.py"), *flags]


def test_a_killed_preparation_leaves_no_dataset(make_release, tmp_path):
    folder = make_release(patients=60, size=200)
    flags = (f"--release={folder.root}", f"--data_dir={tmp_path}/out", "--image_size=512")
    process = subprocess.Popen(command(*flags), stderr=subprocess.PIPE)
    try:
        place = tmp_path / "out/chest_xray14/512"
        deadline = time.monotonic() + 60
        while not list(place.glob("incomplete*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert {path.name.split(".")[0] for path in place.iterdir()} == {"", "incomplete"}
    with pytest.raises(UserError, match="no such dataset"):
        load(tmp_path / "out", 512)
    assert not prepare(read_release(folder.root), tmp_path / "out", image_size=512).reused
    assert {path.name for path in place.iterdir()} == {".lock", "1.0.0"}
    assert load(tmp_path / "out", 512).train.num_images == 84


def test_the_program_prints_what_it_did(make_release, tmp_path):
    folder = make_release(patients=10)
    flags = (f"--release={folder.root}", f"--data_dir={tmp_path}/out", "--image_size=16")
    done = subprocess.run(command(*flags), capture_output=True, text=True, check=True)
    note, last, check = done.stdout.splitlines()
    assert note.startswith("note: BBox_List_2017.csv: 4 boxes are scaled from 1024×1024 pixels")
    place = f"{tmp_path}/out/chest_xray14/16/1.0.0"
    assert last == f"prepared: train 14, validation 2, test 4 images in {place}"
    listed = pd.read_csv(f"{place}/suspicious.csv")  # noise is no chest
    assert check == (
        f"check: {len(listed)} images may be no upright frontal chest radiographs, "
        f"see {place}/suspicious.csv"
    )
    assert not re.search("warning|error|tensorflow|cuda", done.stderr, re.IGNORECASE)
