"""Radiographs that are already in memory, as a split to train on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from jaxcxr.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class InMemorySplit:
    """The radiographs of a split in host memory, in stored order.

    112,120 radiographs of 256×256 take 7.4 GB.

    Attributes:
        fields: Every field of `batches` but `mask`: `image` (N, S, S, 1) uint8, `labels` (N, K)
            uint8 (float32 with NaN where some are unknown) and whatever else there is, (N, ...).
        epoch_rows: Maps a seed and an epoch to (N,) int, the rows of `fields` in the order of that
            epoch.
    """

    fields: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    epoch_rows: Callable[[int, int], np.ndarray] = dataclasses.field(repr=False)

    @property
    def num_images(self) -> int:
        """Number of radiographs N."""
        return len(self.fields["image"])

    @property
    def image_size(self) -> int:
        """Height and width S of the radiographs in pixels."""
        return self.fields["image"].shape[1]

    def in_memory(self) -> InMemorySplit:
        """Returns the split itself."""
        return self

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
        """Yields the batches that `jaxcxr.data.Split.batches` yields for the same arguments."""
        own = rows_of_process(batch_size, process_index, process_count)
        if seed is None:
            order, count = np.arange(self.num_images), math.ceil(self.num_images / batch_size)
        else:
            order, count = self.epoch_rows(seed, epoch), self.num_images // batch_size
        for batch in range(start_batch, count):
            rows = order[batch * batch_size : (batch + 1) * batch_size][own]
            fields = {name: values[rows] for name, values in self.fields.items()}
            yield pad_batch(fields, own.stop - own.start)


class ArraySplit(InMemorySplit):
    """Arrays that `fit` takes in place of a split of the prepared dataset.

    Args:
        image: (N, S, S, 1) uint8.
        labels: (N, K), zeros and ones; of a float dtype also NaN, which is unknown.

    Raises:
        UserError: A shape, a dtype or a label is different.
    """

    def __init__(self, image: np.ndarray, labels: np.ndarray) -> None:
        shape = image.shape
        if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1 or image.dtype != np.uint8:
            raise UserError(f"image is {image.dtype} {shape}; expected uint8 of shape (N, S, S, 1)")
        if labels.ndim != 2 or len(labels) != len(image):
            raise UserError(f"labels has shape {labels.shape}; expected ({len(image)}, findings)")
        if not (np.isin(labels, (0, 1)) | np.isnan(labels)).all():
            raise UserError("labels has values other than 0, 1 and NaN")

        def permutation(seed: int, epoch: int) -> np.ndarray:
            return np.random.default_rng((seed, epoch)).permutation(len(image))

        super().__init__({"image": image, "labels": labels}, permutation)

    @property
    def image(self) -> np.ndarray:
        """(N, S, S, 1) uint8."""
        return self.fields["image"]

    @property
    def labels(self) -> np.ndarray:
        """(N, K), zeros and ones, NaN where unknown."""
        return self.fields["labels"]


def rows_of_process(batch_size: int, process_index: int, process_count: int) -> slice:
    """Returns which rows of every batch of `batch_size` one of several processes gets.

    Raises:
        UserError: The batch size does not divide.
    """
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch size is {batch_size}; it must be a positive multiple of the number of "
            f"processes, {process_count}",
            argument="batch_size",
        )
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


def pad_batch(fields: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Fills the fields of a batch up to `size` rows, and adds which rows are real.

    Args:
        fields: Arrays (n, ...) by name, with at most `size` rows.
        size: Number of rows wanted.

    Returns:
        Arrays (size, ...) by name, zeros or "" after the first n rows, and `mask` (size,) bool,
        True in the first n rows.
    """
    rows = len(fields["image"])
    mask = np.arange(size) < rows
    if rows == size:
        return {**fields, "mask": mask}
    padded = {
        name: np.concatenate([values, np.zeros((size - rows, *values.shape[1:]), values.dtype)])
        for name, values in fields.items()
    }
    return {**padded, "mask": mask}
