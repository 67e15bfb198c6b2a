"""Radiographs that are already in memory, as a split to train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from jaxcxr.errors import UserError


@dataclasses.dataclass(frozen=True)
class ArraySplit:
    """Arrays that `fit` takes in place of a split of the prepared dataset.

    Attributes:
        image: (N, S, S, 1) uint8.
        labels: (N, K), zeros and ones.

    Raises:
        UserError: The shapes, the dtype or the labels are others.
    """

    image: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        shape = self.image.shape
        if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1 or self.image.dtype != np.uint8:
            raise UserError(
                f"image is {self.image.dtype} {shape}; expected uint8 of shape (N, S, S, 1)"
            )
        if self.labels.ndim != 2 or len(self.labels) != len(self.image):
            raise UserError(
                f"labels has shape {self.labels.shape}; expected ({len(self.image)}, findings)"
            )
        if not np.isin(self.labels, (0, 1)).all():
            raise UserError("labels holds values other than 0 and 1")

    @property
    def num_images(self) -> int:
        """Number of radiographs N."""
        return len(self.image)

    @property
    def image_size(self) -> int:
        """Height and width S in pixels."""
        return self.image.shape[1]

    @property
    def fields(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {"image": self.image, "labels": self.labels}

    def in_memory(self) -> ArraySplit:
        """Returns the split itself."""
        return self

    def epoch_rows(self, seed: int, epoch: int) -> np.ndarray:
        """Returns (N,) the rows in the order of an epoch."""
        return np.random.default_rng((seed, epoch)).permutation(self.num_images)

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
        """Yields batches with `image`, `labels` and `mask`.

        With a seed: shuffled for (seed, epoch), an incomplete last batch dropped. Without: in
        order, the last batch padded with zeros whose mask is False. Those before `start_batch` are
        left out. Of `process_count` processes each gets its rows of every batch.
        """
        order = np.arange(self.num_images)
        if seed is not None:
            order = self.epoch_rows(seed, epoch)
            order = order[: len(order) // batch_size * batch_size]
        share = batch_size // process_count
        for start in range(start_batch * batch_size, len(order), batch_size):
            rows = order[start : start + batch_size][process_index * share :][:share]
            padding = share - len(rows)
            yield {
                "image": _pad_rows(self.image[rows], padding),
                "labels": _pad_rows(self.labels[rows], padding),
                "mask": np.arange(share) < len(rows),
            }


def _pad_rows(array: np.ndarray, padding: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((padding, *array.shape[1:]), array.dtype)])
