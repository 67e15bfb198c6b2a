"""How radiographs are divided: the official test list, and validation drawn from the rest.

Source: the official split of ChestX-ray14 (70 % training, 10 % validation, 20 % test) and the
paper's closing remarks, which ask for one validation set for all models.
"""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError

SPLITS = ("train", "validation", "test")
SPLIT_METHODS = ("by_patient", "authors")
VALIDATION_FRACTION = 0.10


def split_by_patient(images: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Draws patients with all their images for validation from those that are not on the test list.

    Patients are shuffled by the seed and taken until they have a tenth of all images, those of the
    test list among them.
    The draw depends on the seed and the release's patients only, not on the order of its rows.

    Args:
        images: `Release.images`.
        seed: Seed of the draw.

    Returns:
        "train", "validation" or "test" per row. No patient is in two splits.

    Raises:
        UserError: A split is empty.
    """
    learning = images[images["official_split"] == "train_val"]
    counts = learning.groupby("patient").size().sort_index()
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    reached = np.cumsum(counts.to_numpy()[shuffled])
    wanted = VALIDATION_FRACTION * len(images)
    drawn = np.clip(np.searchsorted(reached, wanted) + 1, 1, max(len(counts) - 1, 1))
    held_out = images["patient"].isin(counts.index[shuffled[:drawn]])
    return _named(images, held_out)


def authors_split(images: pd.DataFrame) -> pd.Series:
    """Divides as the paper's authors did: the first 87.5 % of `train_val_list.txt` is for training.

    On the real release, whose list is sorted by patient, the cut falls between two patients: 75,708
    images for training, 10,816 for validation, and no patient in both. A list in another order can
    give one patient to both.

    Returns:
        "train", "validation" or "test" per row of `Release.images`.

    Raises:
        UserError: A split is empty.
    """
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
