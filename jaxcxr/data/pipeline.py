"""Prepared radiographs as batches."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.data.arrays import InMemorySplit, pad_batch, rows_of_process
from jaxcxr.data.quiet_tensorflow import open_dataset
from jaxcxr.data.record_files import RecordFiles
from jaxcxr.data.splits import SPLITS
from jaxcxr.data.variant import DATASET, Variant
from jaxcxr.errors import UserError
from jaxcxr.images.square import SquareRule

_READ_TOGETHER = 256


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of a prepared dataset.

    Attributes:
        name: "train", "validation" or "test".
        files: Where its radiographs are.
    """

    name: str
    files: RecordFiles

    @property
    def num_images(self) -> int:
        """Number of radiographs."""
        return sum(self.files.lengths)

    @property
    def image_size(self) -> int:
        """Height and width S of the radiographs in pixels."""
        return self.files.image_size

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        start_batch: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the batches of one pass over the split.

        With a seed: in the order of (seed, epoch), the same in every run; an incomplete last batch
        is dropped. Without: in stored order; the last batch is padded with zeros, nothing dropped.

        Args:
            batch_size: Images per batch, over all processes.
            seed: Seed of the order; see `jaxcxr.data.record_files`.
            epoch: Epoch of the order.
            start_batch: The first batch to yield; records before it are read and dropped.
            process_index: Which of the processes this is.
            process_count: How many processes share each batch; every one yields its rows of it.

        Yields:
            `image` (B, S, S, 1) uint8, `labels` (B, 14) uint8, `mask` (B,) bool (False on padding),
            `image_name`, `sex` ("F", "M") and `view` ("PA", "AP") (B,) str, `patient`, `age` and
            `follow_up` (B,) int32, `png_size` (B, 2) int32 (width, height of the original), where B
            is batch_size / process_count.

        Raises:
            UserError: The batch size does not divide; a record file is damaged or missing.
        """
        rows = rows_of_process(batch_size, process_index, process_count)
        for batch in self.files.batches(batch_size, rows, seed, epoch, start_batch):
            yield pad_batch(batch, rows.stop - rows.start)

    def in_memory(self) -> InMemorySplit:
        """Reads all radiographs into host memory; their batches stay the same bit for bit.

        Raises:
            UserError: A record file is damaged or missing.
        """
        fields: dict[str, np.ndarray] = {}
        done = 0
        for batch in self.batches(_READ_TOGETHER):
            real = batch.pop("mask")
            for name, values in batch.items():
                if name not in fields:
                    fields[name] = np.zeros((self.num_images, *values.shape[1:]), values.dtype)
                elif values.dtype.itemsize > fields[name].dtype.itemsize:  # longer words
                    fields[name] = fields[name].astype(values.dtype)
                fields[name][done : done + real.sum()] = values[real]
            done += int(real.sum())
        return InMemorySplit(fields, self.files.epoch_rows)

    def boxes(self) -> pd.DataFrame:
        """Returns the annotated boxes of the split's radiographs.

        Returns:
            Columns image_name, finding (as in `FINDINGS`), x, y, w and h (float pixels of the
            original PNG, origin top left), sorted by image name; the boxes of one image are in the
            release's order.

        Raises:
            UserError: A record file is damaged or missing.
        """
        return self.files.boxes().sort_values("image_name", kind="stable", ignore_index=True)


@dataclasses.dataclass(frozen=True)
class Data:
    """A prepared dataset.

    Attributes:
        train: The split to learn from.
        validation: The split that decides about the best epoch.
        test: The official test list.
        facts: Where it comes from: dataset, release, fingerprint of the lists, how radiographs
            became square, sizes of the splits.
    """

    train: Split
    validation: Split
    test: Split
    facts: Mapping[str, Any]


def load(
    data_dir: str | os.PathLike[str],
    image_size: int = 256,
    split: str = "by_patient",
    split_seed: int = 0,
    square: SquareRule = "squash",
) -> Data:
    """Opens a dataset that `prepare` made.

    Args:
        data_dir: Folder of prepared datasets.
        image_size: Height and width of its radiographs in pixels.
        split: "by_patient" or "authors".
        split_seed: Seed of the draw by patient.
        square: How radiographs became square, "squash" or "pad".

    Raises:
        UserError: There is no such dataset.
    """
    variant = Variant(image_size, split, split_seed, square)
    folder = variant.folder(data_dir)
    if not folder.is_dir():
        raise UserError(_not_there(folder, Path(data_dir), variant))
    try:
        info, kept = open_dataset(folder)
        splits = {name: _open_split(name, info.splits[name], image_size) for name in SPLITS}
        facts = {
            "dataset": info.full_name,
            **{fact: kept[fact] for fact in ("release", "synthetic", "fingerprint")},
            "square": kept.get("square", "squash"),  # early versions could do nothing else
            **{name: opened.num_images for name, opened in splits.items()},
        }
    except Exception as error:  # TFDS meets a damaged folder with any exception there is
        raise UserError(
            f"{folder}: not a readable dataset ({error}); remove this folder and prepare it again "
            f"with {variant}"
        ) from error
    return Data(**splits, facts=facts)


def _open_split(name: str, info: Any, image_size: int) -> Split:
    paths = tuple(os.fspath(path) for path in info.filepaths)
    return Split(name, RecordFiles(paths, tuple(info.shard_lengths), image_size))


def _not_there(folder: Path, data_dir: Path, variant: Variant) -> str:
    others = sorted(other.parent.name for other in (data_dir.expanduser() / DATASET).glob("*/1*"))
    return f"{folder}: no such dataset; prepare one in {data_dir} with {variant}" + (
        f" (prepared there: {', '.join(others)})" if others else ""
    )
