"""Reading the record files of a prepared dataset with tf.data.

An epoch is shuffled by tf.data: files in random order, records of `_CYCLE` files in turns, and a
buffer of radiographs from which the next one is drawn. The order depends on the lengths of the
files, the seed and the epoch alone (as long as nobody calls `tf.random.set_seed`), so that streamed
epochs, resumed epochs and those of a split in memory are the same bit for bit. Within a file,
records lie in the order of their names' hashes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.data.quiet_tensorflow import tf
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS

_SEXES = np.array(["F", "M"])
_VIEWS = np.array(["PA", "AP"])
_BUFFER_BYTES = 256 * 1024
_PREFETCHED_BATCHES = 2

_CYCLE = 16
"""Record files that are read in turns."""

_SHUFFLED = 8192
"""Radiographs in the shuffle buffer: of a batch of 128, neighbors on disk share 0.8 %."""

_SHUFFLED_BYTES = 1024**3
"""Largest shuffle buffer in bytes; 8,192 radiographs of 256×256 take half of it."""


@dataclasses.dataclass(frozen=True)
class RecordFiles:
    """The record files of a split.

    Attributes:
        paths: The files.
        lengths: Number of records in each.
        image_size: Height and width S of the radiographs in pixels.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]
    image_size: int

    def batches(
        self, batch_size: int, rows: slice, seed: int | None, epoch: int, start_batch: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields some rows of each batch of a pass over the files.

        Args:
            batch_size: Records per batch.
            rows: The rows of each batch that are decoded.
            seed: Seed of the order; None for the stored order.
            epoch: Epoch of the order, unused without a seed.
            start_batch: The first batch to yield; the records before it are read and dropped.

        Yields:
            Every field of the records but the boxes; see `jaxcxr.data.Split.batches`. With a seed,
            an incomplete last batch is dropped; without one, it has fewer rows.

        Raises:
            UserError: A file is damaged or missing.
        """
        if seed is None:
            records = self._stored()
        else:
            records = self._shuffled(self._files(), _read, seed, epoch)
        dataset = (
            records.skip(start_batch * batch_size)
            .batch(batch_size, drop_remainder=seed is not None)
            .map(
                lambda batch: self._decode(batch[rows]),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .prefetch(_PREFETCHED_BATCHES)
        )
        with self._damage_named():
            for batch in dataset.as_numpy_iterator():
                yield _with_words(batch)

    def epoch_rows(self, seed: int, epoch: int) -> np.ndarray:
        """Returns (N,) int64, for each record of an epoch its place in stored order."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        files = (ends - np.array(self.lengths, np.int64), ends)
        places = self._shuffled(files, tf.data.Dataset.range, seed, epoch).batch(sum(self.lengths))
        return next(places.as_numpy_iterator(), np.zeros(0, np.int64))

    def _files(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.paths), np.array(self.lengths, np.int64)

    def _stored(self) -> tf.data.Dataset:
        files = tf.data.Dataset.from_tensor_slices(self._files())
        return files.flat_map(_read)  # pyright: ignore[reportArgumentType] (one per element)

    def _shuffled(
        self,
        files: tuple[np.ndarray, np.ndarray],
        read: Callable[..., tf.data.Dataset],
        seed: int,
        epoch: int,
    ) -> tf.data.Dataset:
        """Shuffles what `read` gives for the files, whatever it is.

        One thread reads: with `num_parallel_calls` a warm read took a fifth more processor time.
        """
        of_files, of_records = np.random.SeedSequence((seed, epoch)).generate_state(2).tolist()
        return (
            tf.data.Dataset.from_tensor_slices(files)
            .shuffle(len(self.paths), of_files)
            .interleave(read, cycle_length=_CYCLE, block_length=1)
            .shuffle(min(_SHUFFLED, _SHUFFLED_BYTES // self.image_size**2), of_records)
        )

    def boxes(self) -> pd.DataFrame:
        """Returns the boxes of all records: image_name, finding, x, y, w and h.

        Raises:
            UserError: A file is damaged or missing.
        """
        fields = {
            "image_name": tf.io.FixedLenFeature([], tf.string),
            "boxes/finding": tf.io.RaggedFeature(tf.int64),
            "boxes/box": tf.io.RaggedFeature(tf.float32),
        }
        dataset = self._stored().batch(64)
        dataset = dataset.map(lambda records: tf.io.parse_example(records, fields))
        names, findings, sides = [], [], [np.zeros((0, 4), np.float32)]
        with self._damage_named():
            for batch in dataset:
                counts = batch["boxes/finding"].row_lengths().numpy()
                names.extend(name.decode() for name in batch["image_name"].numpy().repeat(counts))
                findings.extend(FINDINGS[index] for index in batch["boxes/finding"].values.numpy())
                sides.append(batch["boxes/box"].values.numpy().reshape(-1, 4))
        table = pd.DataFrame(np.concatenate(sides).astype(np.float64), columns=["x", "y", "w", "h"])
        table.insert(0, "image_name", pd.Series(names, dtype="str"))
        table.insert(1, "finding", pd.Series(findings, dtype="str"))
        return table

    def _decode(self, records: tf.Tensor) -> dict[str, Any]:
        integer = tf.io.FixedLenFeature([], tf.int64)
        text = tf.io.FixedLenFeature([], tf.string)
        fields = {
            "image": text,
            "image_name": text,
            "labels": tf.io.FixedLenFeature([len(FINDINGS)], tf.int64),
            "png_size": tf.io.FixedLenFeature([2], tf.int64),
            **dict.fromkeys(("patient", "age", "sex", "view", "follow_up"), integer),
        }
        batch = tf.io.parse_example(records, fields)
        image = tf.io.decode_raw(batch.pop("image"), tf.uint8)
        name = batch.pop("image_name")
        labels = tf.cast(batch.pop("labels"), tf.uint8)
        numbers = {field: tf.cast(value, tf.int32) for field, value in batch.items()}
        image = tf.reshape(image, [-1, self.image_size, self.image_size, 1])
        return {"image": image, "labels": labels, "image_name": name, **numbers}

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        """Turns TensorFlow's errors into one that names the file and what to do."""
        try:
            yield
        except tf.errors.OpError as error:
            raise UserError(
                f"{self._find_damage(error)}; remove the folder and prepare the dataset again"
            ) from error

    def _find_damage(self, error: Exception) -> str:
        for path, length in zip(self.paths, self.lengths, strict=True):
            try:
                records = tf.data.TFRecordDataset(path)
                found = int(records.reduce(np.int64(0), lambda count, _: count + 1))
            except tf.errors.NotFoundError:
                return f"{path}: the record file is missing"
            except tf.errors.OpError:
                return f"{path}: damaged record file"
            if found != length:
                return f"{path}: holds {found} of {length} records"
        return f"{self.paths[0]}: these record files cannot be read ({error})"


def _read(path: tf.Tensor, length: tf.Tensor) -> tf.data.Dataset:
    """Reads a file; one cut between two records is an error, too."""
    records = tf.data.TFRecordDataset(path, buffer_size=_BUFFER_BYTES)
    return records.apply(tf.data.experimental.assert_cardinality(length))


def _with_words(batch: Any) -> dict[str, np.ndarray]:
    """Returns the batch with strings where the records hold bytes and class numbers."""
    return {
        **batch,
        "image_name": np.array([name.decode() for name in batch["image_name"]], np.str_),
        "sex": _SEXES[batch["sex"]],
        "view": _VIEWS[batch["view"]],
    }
