from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcxr.data import authors_split, read_release, split_by_patient
from jaxcxr.data.variant import Variant
from jaxcxr.errors import UserError

METADATA = Path(__file__).parents[2] / "../shared/nih_metadata"
needs_metadata = pytest.mark.skipif(not METADATA.exists(), reason="no real metadata here")


def radiographs(counts: list[int], test_patients: int = 1) -> pd.DataFrame:
    """Returns images of patients 0, 1, …; those of the last `test_patients` are the test list."""
    patient = np.repeat(np.arange(len(counts)), counts)
    in_test = patient >= len(counts) - test_patients
    position = np.where(in_test, np.cumsum(in_test), np.cumsum(~in_test)) - 1
    return pd.DataFrame(
        {
            "image_name": [f"{index}.png" for index in range(len(patient))],
            "patient": patient,
            "official_split": np.where(in_test, "test", "train_val"),
            "list_position": position,
        }
    )


def splits_per_patient(images: pd.DataFrame, split: pd.Series) -> int:
    return images.assign(split=split).groupby("patient")["split"].nunique().max()


@pytest.fixture(scope="module")
def real_images():
    return read_release(METADATA, require_images=False).images


@needs_metadata
def test_the_real_draw_never_changes(real_images):
    """Published results name a seed: the same patients must come out years later."""
    split = split_by_patient(real_images, 0)
    assert splits_per_patient(real_images, split) == 1
    assert split.value_counts().to_dict() == {"train": 75_312, "validation": 11_212, "test": 25_596}
    patients = np.unique(real_images["patient"][split == "validation"])
    assert patients[:5].tolist() == [4, 14, 17, 24, 27]


@needs_metadata
def test_the_authors_split_of_the_real_release(real_images):
    split = authors_split(real_images)
    assert split.value_counts().to_dict() == {"train": 75_708, "validation": 10_816, "test": 25_596}
    assert splits_per_patient(real_images, split) == 1
    names = (METADATA / "train_val_list.txt").read_text().split()
    first = set(names[: int(0.875 * len(names))])
    assert set(real_images["image_name"][split == "train"]) == first


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 30), min_size=3, max_size=40), seed=st.integers(0, 10**6))
def test_splits_are_by_patient_whatever_the_release(counts, seed):
    images = radiographs(counts)
    split = split_by_patient(images, seed)
    assert splits_per_patient(images, split) == 1
    assert set(split) == {"train", "validation", "test"}
    assert ((split == "test") == (images["official_split"] == "test")).all()
    shuffled = images.sample(frac=1, random_state=seed)
    pd.testing.assert_series_equal(split_by_patient(shuffled, seed).sort_index(), split)


def test_another_seed_draws_other_patients_up_to_the_fraction_of_all_images():
    images = radiographs([2] * 50, test_patients=25)
    drawn = [
        frozenset(images["patient"][split_by_patient(images, seed) == "validation"])
        for seed in range(5)
    ]
    assert len(set(drawn)) == 5
    assert {len(patients) for patients in drawn} == {5}


def test_the_authors_split_follows_the_list_and_not_the_table():
    images = radiographs([1] * 17)
    backwards = images.assign(list_position=np.r_[np.arange(16)[::-1], 0])
    split = authors_split(backwards)
    assert split.tolist() == ["validation"] * 2 + ["train"] * 14 + ["test"]


@pytest.mark.parametrize("divide", [split_by_patient, authors_split])
def test_an_empty_split_is_refused(divide):
    with pytest.raises(UserError, match=r"the train split would be empty .*validation 1, test 2"):
        divide(radiographs([1, 2]))
    with pytest.raises(UserError, match="the test split would be empty"):
        divide(radiographs([8, 8], test_patients=0))
    with pytest.raises(UserError, match="the train and validation split would be empty"):
        divide(radiographs([3, 2], test_patients=2))


def test_variants_have_the_names_of_their_folders():
    assert Variant(256).name == "256"
    assert Variant(96, "by_patient", 3).name == "96_seed3"
    assert Variant(256, "authors").name == "256_authors"
    assert Variant(64).folder("data").parts[-4:] == ("data", "chest_xray14", "64", "1.0.0")
    assert Variant(96, "by_patient", 3, "pad").name == "96_seed3_pad"
    text = "image_size=96, split=authors, split_seed=0, square=pad"
    assert str(Variant(96, "authors", square="pad")) == text


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"image_size": 4}, "image_size is 4; it must lie from 16 to 2048 pixels"),
        ({"image_size": 4096}, "image_size is 4096"),
        ({"split": "mine"}, "split is 'mine'; use one of by_patient, authors"),
        ({"square": "tile"}, "square is 'tile'; use one of squash, pad"),
        ({"split_seed": -1}, "split_seed is -1; it must be 0 or more"),
    ],
)
def test_impossible_variants_are_refused(settings_, message):
    with pytest.raises(UserError, match=message):
        Variant(**settings_)
