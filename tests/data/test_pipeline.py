import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcxr.data import load, read_release
from jaxcxr.data.pipeline import Split
from jaxcxr.data.quiet_tensorflow import tf
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from tests.data.conftest import small_pixels


@pytest.fixture(scope="module")
def data(prepared):
    data = load(prepared[1], image_size=32)
    assert (data.facts["dataset"], data.facts["release"]) == ("chest_xray14/32/1.0.0", "release")
    assert (data.facts["train"], data.facts["validation"], data.facts["test"]) == (70, 10, 20)
    return data


@pytest.fixture(scope="module")
def cut_up(data, tmp_path_factory) -> Split:
    """Returns the training split in 23 record files."""
    (path,) = data.train.paths
    records = [record.numpy() for record in tf.data.TFRecordDataset(path)]
    parts = np.array_split(np.arange(len(records)), 23)
    paths = []
    for index, part in enumerate(parts):
        paths.append(os.fspath(tmp_path_factory.mktemp("parts") / f"{index}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for record in part:
                writer.write(records[record])
    return dataclasses.replace(data.train, paths=tuple(paths), lengths=tuple(map(len, parts)))


def joined(batches) -> dict[str, np.ndarray]:
    batches = list(batches)
    return {field: np.concatenate([batch[field] for batch in batches]) for field in batches[0]}


def assert_equal_batches(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for field in one:
            np.testing.assert_array_equal(one[field], other[field], strict=True)


def test_batches_hold_what_the_release_says(prepared, data):
    release = read_release(prepared[0].root)
    images = release.images.set_index("image_name")
    for batch in data.train.batches(8, seed=0):
        assert batch["image"].shape == (8, 32, 32, 1)
        assert batch["image"].dtype == batch["labels"].dtype == np.uint8
        assert batch["mask"].all()
        for row, name in enumerate(batch["image_name"]):
            pixels = small_pixels(release.image_paths[name], 32)
            np.testing.assert_array_equal(batch["image"][row, :, :, 0], pixels)
            facts = images.loc[name]
            np.testing.assert_array_equal(batch["labels"][row], facts[list(FINDINGS)].astype(int))
            assert batch["patient"][row] == str(facts["patient"])
            for field in ("age", "sex", "view", "follow_up"):
                assert batch[field][row] == facts[field]
            assert batch["png_size"][row].tolist() == [40, 40]


def test_evaluation_drops_nothing_and_pads_the_end(data):
    batches = list(data.test.batches(8))
    assert [int(batch["mask"].sum()) for batch in batches] == [8, 8, 4]
    names = joined(batches)["image_name"]
    assert len(set(names[:20])) == 20
    assert not batches[-1]["image"][4:].any()
    assert not batches[-1]["labels"][4:].any()
    assert (names[20:] == "").all()
    assert_equal_batches(batches, data.test.batches(8))


def test_training_drops_the_incomplete_batch(data):
    assert len(list(data.train.batches(32, seed=0))) == 2
    assert list(data.validation.batches(11, seed=0)) == []


def test_seed_and_epoch_decide_the_order(cut_up):
    first = list(cut_up.batches(8, seed=5, epoch=1))
    assert_equal_batches(first, cut_up.batches(8, seed=5, epoch=1))
    names = joined(first)["image_name"].tolist()
    for other in ({"seed": 5, "epoch": 2}, {"seed": 6, "epoch": 1}):
        assert joined(cut_up.batches(8, **other))["image_name"].tolist() != names


def test_another_process_reads_releases_without_tensorflow_and_sees_the_same_order(prepared, data):
    program = f"""
import sys
import jaxcxr.data
jaxcxr.data.read_release({os.fspath(prepared[0].root)!r})
assert "tensorflow" not in sys.modules  # it takes seconds
test = jaxcxr.data.load({os.fspath(prepared[1])!r}, image_size=32).test
for batch in test.batches(5, seed=5, epoch=1):
    print(*batch["image_name"])
from jaxcxr.data.quiet_tensorflow import tf
assert tf.config.get_visible_devices("GPU") == []
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=-1, text=True, check=True)
    expected = joined(data.test.batches(5, seed=5, epoch=1))["image_name"]
    assert done.stdout.split() == expected.tolist()


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_an_epoch_has_every_image_once(lengths, seed):
    files = Split(("",) * len(lengths), tuple(lengths), 32)
    for epoch in range(2):
        assert sorted(files.epoch_rows(seed, epoch)) == list(range(sum(lengths)))


@pytest.mark.parametrize("files", [1, 64])
def test_neighbors_rarely_share_a_batch_and_rarely_again(files):
    """A release of the size of NIH's, in batches of 128; by chance two images share 0.0017."""
    split = Split(("",) * files, (75_312 // files,) * files, 256)
    count = sum(split.lengths)
    first, second = (np.argsort(split.epoch_rows(seed=0, epoch=epoch)) // 128 for epoch in range(2))
    for apart in (1, 2, 16):
        assert np.mean(first[apart:] == first[:-apart]) < 0.02
    batches = np.argsort(first, kind="stable")[: count // 128 * 128].reshape(-1, 128)
    again = [np.sum(second[rows][:, None] == second[rows]) - 128 for rows in batches[::4]]
    assert np.sum(again) / (len(again) * 128 * 127) < 0.02


def test_how_images_are_filed_does_not_matter_in_evaluation(data, cut_up):
    assert_equal_batches(data.train.batches(8), cut_up.batches(8))


@pytest.mark.parametrize("asked", [{"seed": 3, "epoch": 4}, {}])
@pytest.mark.parametrize("start", [0, 1, 4, 8])
def test_an_epoch_can_start_in_its_middle(cut_up, asked, start):
    batches = list(cut_up.batches(8, **asked))
    assert_equal_batches(batches[start:], cut_up.batches(8, start_batch=start, **asked))


@pytest.mark.parametrize("asked", [{"seed": 3, "epoch": 4}, {}])
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_each_batch(cut_up, asked, processes):
    complete = cut_up.batches(12, **asked)
    shares = [
        cut_up.batches(12, process_index=index, process_count=processes, **asked)
        for index in range(processes)
    ]
    assert_equal_batches(complete, map(joined, zip(*shares, strict=True)))


def test_batches_that_do_not_divide_are_refused(data):
    with pytest.raises(UserError, match=r"batch size is 9; it must be a positive multiple"):
        next(data.train.batches(9, process_count=2))
    with pytest.raises(UserError, match="batch size is 0"):
        next(data.train.batches(0))


def test_boxes_are_those_of_the_release(prepared, data):
    expected = read_release(prepared[0].root).boxes
    boxes = data.test.boxes()
    assert boxes["image_name"].tolist() == sorted(expected["image_name"])
    expected = expected.sort_values("image_name", kind="stable", ignore_index=True)
    assert boxes["finding"].tolist() == expected["finding"].tolist()
    np.testing.assert_allclose(boxes[["x", "y", "w", "h"]], expected[["x", "y", "w", "h"]])
    assert data.train.boxes().columns.tolist() == ["image_name", "finding", "x", "y", "w", "h"]
    assert len(data.train.boxes()) == 0


def test_a_dataset_that_is_not_there(prepared, tmp_path):
    _, data_dir = prepared
    with pytest.raises(UserError, match=r"64_seed2/1\.0\.0: no such dataset; prepare") as caught:
        load(data_dir, 64, split_seed=2)
    assert "with image_size=64, split=by_patient, split_seed=2, " in str(caught.value)
    assert str(caught.value).endswith("(prepared there: 32)")
    with pytest.raises(UserError, match=r"square=squash$"):
        load(tmp_path)
    with pytest.raises(UserError, match="split is 'mine'"):
        load(data_dir, 32, split="mine")


RECORD_FILE = "chest_xray14-train.tfrecord-00000-of-00001"


@pytest.fixture
def copy(prepared, tmp_path) -> Path:
    shutil.copytree(prepared[1], tmp_path / "copy")
    return tmp_path / "copy"


def keep_records(path: Path, count: int) -> None:
    records = [record.numpy() for record in tf.data.TFRecordDataset(os.fspath(path))]
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for record in records[:count]:
            writer.write(record)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "flipped bit": (flip_a_bit, "damaged record file"),
    "cut within a record": (
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        "damaged record file",
    ),
    "missing": (lambda path: path.unlink(), "the record file is missing"),
    # Where complete batches are missing, TensorFlow sees nothing wrong.
    "40 records": (lambda path: keep_records(path, 40), "holds 40 of 70 records"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_file_is_named_whatever_is_read(copy, damage):
    change, message = DAMAGES[damage]
    change(copy / "chest_xray14/32/1.0.0" / RECORD_FILE)
    train = load(copy, 32).train
    for read in (lambda: list(train.batches(5, seed=0)), train.in_memory, train.boxes):
        with pytest.raises(UserError, match=rf"{RECORD_FILE}: {message}; remove the folder"):
            read()


def test_every_flipped_byte_of_a_record_file_is_reported(copy):
    record_file = copy / "chest_xray14/32/1.0.0" / RECORD_FILE
    keep_records(record_file, 3)
    split = Split((os.fspath(record_file),), (3,), 32)
    complete = record_file.read_bytes()
    lengths = range(16)  # of a record: 8 bytes, their checksum, then data and its checksum
    somewhere = np.random.default_rng(0).integers(0, len(complete), 20)
    for position in (*lengths, *somewhere, len(complete) - 1):
        damaged = bytearray(complete)
        damaged[position] ^= 0x10
        record_file.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{RECORD_FILE}: damaged record file"):
            list(split.batches(2))


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_a_folder_without_description(copy, name):
    next(copy.rglob(name)).unlink()
    with pytest.raises(UserError, match=r"not a readable dataset .*again with image_size=32, "):
        load(copy, 32)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"seed": 3, "epoch": 2},
        {"seed": 3, "start_batch": 2},
        {"seed": 0, "process_index": 1, "process_count": 2},
        {"process_index": 1, "process_count": 2},
    ],
    ids=str,
)
def test_held_in_memory_the_batches_are_the_same(cut_up, asked):
    held = cut_up.in_memory()
    assert (held.num_images, held.image_size) == (cut_up.num_images, cut_up.image_size)
    assert_equal_batches(held.batches(8, **asked), cut_up.batches(8, **asked))
    assert held.in_memory() is held
