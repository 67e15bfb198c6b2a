"""How radiographs are divided: the official test list, and validation drawn from the rest.

Source: the official split of ChestX-ray14 (70 % training, 10 % validation, 20 % test) and the
paper's closing remarks, which ask for one validation set for all models.
"""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError

SPLITS = ("train", "validation", "test")
UNLISTED = "unlisted"
"""The official split of the radiographs of a release without official lists."""

SPLIT_METHODS = ("by_patient", "authors")
VALIDATION_FRACTION = 0.10
TEST_FRACTION = 0.20
"""Part of the images that is drawn for testing where no list gives it."""

_NIH_TEST_LIST = "7519b7296cb0f58e5d2f4818372950411b04f1f243580c4132d001746535d931"
"""SHA-256 of the sorted names in NIH's test_list.txt, without suffix, one a line."""


def is_nih_test_list(names: Iterable[str]) -> bool:
    """Returns whether radiographs are those of NIH's test list: published scores are on these.

    Args:
        names: Names of the radiographs, with or without suffix.
    """
    stems = sorted(os.path.splitext(name)[0] for name in names)
    return hashlib.sha256("\n".join(stems).encode()).hexdigest() == _NIH_TEST_LIST


def split_by_patient(images: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Draws patients with all their images for validation from those that are not on the test list.

    Patients are shuffled by the seed and taken until they have a tenth of all images, those of the
    test list among them. Without official lists, a fifth of all images is drawn for testing first;
    validation is not drawn where the release has one of its own.
    The draw depends on the seed and the release's patients only, not on the order of its rows.

    Args:
        images: `Release.images`.
        seed: Seed of the draw.

    Returns:
        "train", "validation" or "test" per row. No patient is in two splits.

    Raises:
        UserError: A split is empty.
    """
    official = images["official_split"]
    if "validation" in set(official):
        return _named(images, official == "validation")
    learning = images[official != "test"]
    counts = learning.groupby("patient").size().sort_index()
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    reached = np.cumsum(counts.to_numpy()[shuffled])
    start = 0
    if UNLISTED in set(official):
        start = _drawn(reached, TEST_FRACTION * len(images), len(counts) - 2)
        tested = images["patient"].isin(counts.index[shuffled[:start]])
        images = images.assign(official_split=np.where(tested, "test", "train_val"))
        reached = reached - reached[start - 1]
    end = _drawn(reached, VALIDATION_FRACTION * len(images), len(counts) - 1)
    return _named(images, images["patient"].isin(counts.index[shuffled[start:end]]))


def _drawn(reached: np.ndarray, wanted: float, at_most: int) -> int:
    """Returns how many of the shuffled patients have so many images together, one at least."""
    return int(np.clip(np.searchsorted(reached, wanted) + 1, 1, max(at_most, 1)))


def authors_split(images: pd.DataFrame) -> pd.Series:
    """Divides as the paper's authors did: the first 87.5 % of `train_val_list.txt` is for training.

    On the real release, whose list is sorted by patient, the cut falls between two patients: 75,708
    images for training, 10,816 for validation, and no patient in both. A list in another order can
    give one patient to both.

    Returns:
        "train", "validation" or "test" per row of `Release.images`.

    Raises:
        UserError: A split is empty, or the release has no official lists.
    """
    if UNLISTED in set(images["official_split"]):
        raise UserError(
            "the authors' split is of NIH's official lists, which this release does not have; use "
            "by_patient",
            argument="split",
        )
    listed = (images["official_split"] == "train_val").sum()
    return _named(images, images["list_position"] >= int(0.875 * listed))


def _named(images: pd.DataFrame, held_out: pd.Series) -> pd.Series:
    names = np.where(held_out, "validation", "train")
    names = np.where(images["official_split"] == "test", "test", names)
    split = pd.Series(names, index=images.index, name="split")
    refuse_empty(split.value_counts())
    return split


def refuse_empty(counts: Mapping[str, int] | pd.Series) -> None:
    """Raises UserError where one of the three splits has no images."""
    empty = [name for name in SPLITS if not counts.get(name, 0)]
    if empty:
        found = ", ".join(f"{name} {counts.get(name, 0)}" for name in SPLITS)
        raise UserError(
            f"the {' and '.join(empty)} split would be empty (images: {found}); a release needs a "
            "test list, and at least two patients in train_val_list.txt"
        )
