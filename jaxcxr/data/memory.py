"""A split held in host memory: the same batches, bit for bit, without reading files again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np

from jaxcxr.data.order import shuffled_order, stored_positions


@dataclasses.dataclass(frozen=True, eq=False)
class InMemorySplit:
    """The radiographs of a split in memory, in stored order; see `jaxcxr.data.Split.in_memory`.

    112,120 radiographs of 256×256 take 7.4 GB.

    Attributes:
        fields: Every field of `Split.batches` but `mask`: `image` (N, S, S, 1) uint8, `labels`
            (N, 14) uint8 and so on.
        lengths: Number of records in each of the files that they were read from; the epochs'
            orders depend on it.
    """

    fields: Mapping[str, np.ndarray]
    lengths: tuple[int, ...]

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

    def epoch_rows(self, seed: int, epoch: int) -> np.ndarray:
        """Returns (N,) the rows of `fields` in the order of an epoch."""
        order = shuffled_order(self.lengths, self.image_size, seed, epoch)
        return stored_positions(order, self.lengths)

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
        if seed is None:
            order, count = np.arange(self.num_images), math.ceil(self.num_images / batch_size)
        else:
            order, count = self.epoch_rows(seed, epoch), self.num_images // batch_size
        share = batch_size // process_count
        for index in range(start_batch, count):
            rows = order[index * batch_size : (index + 1) * batch_size]
            rows = rows[process_index * share :][:share]
            yield {
                **{field: _padded(values[rows], share) for field, values in self.fields.items()},
                "mask": np.arange(share) < len(rows),
            }


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
