"""Reading the record files of a prepared dataset with tf.data."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.data.order import FILES_PER_GROUP, Order
from jaxcxr.data.quiet_tensorflow import tf
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS

_SEXES = np.array(["F", "M"])
_VIEWS = np.array(["PA", "AP"])
_BUFFER_BYTES = 256 * 1024
_PREFETCHED_BATCHES = 2


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
        self, order: Order, places: np.ndarray, size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the images at some places of an order, `size` at a time; the last may be fewer.

        Args:
            order: An order of these files.
            places: (M,) Ascending places in it.
            size: Images per batch.

        Yields:
            Every field of the records but the boxes; see `jaxcxr.data.Split.batches`.

        Raises:
            UserError: A file is damaged or gone.
        """
        if not len(places):
            return
        windows = places // order.window
        first = int(windows[0])
        rows_of_window = tf.RaggedTensor.from_row_lengths(  # pyright: ignore[reportAttributeAccessIssue]
            order.rows[places] - windows * order.window, np.bincount(windows - first)
        )
        dataset = (
            tf.data.Dataset.zip(
                self._windows(order, first), tf.data.Dataset.from_tensor_slices(rows_of_window)
            )
            .map(_take)
            .rebatch(size)
            .prefetch(_PREFETCHED_BATCHES)
        )
        missing = len(places)
        with self._damage_named():
            for batch in dataset.as_numpy_iterator():
                missing -= len(batch["labels"])
                _refuse_missing(missing if len(batch["labels"]) < size else 0)
                yield _with_words(batch)
            _refuse_missing(missing)

    def boxes(self) -> pd.DataFrame:
        """Returns the boxes of all records: image_name, finding, x, y, w and h.

        Raises:
            UserError: A file is damaged or gone.
        """
        fields = {
            "image_name": tf.io.FixedLenFeature([], tf.string),
            "boxes/finding": tf.io.RaggedFeature(tf.int64),
            "boxes/box": tf.io.RaggedFeature(tf.float32),
        }
        dataset = tf.data.TFRecordDataset(list(self.paths), buffer_size=_BUFFER_BYTES).batch(64)
        dataset = dataset.map(lambda records: tf.io.parse_example(records, fields))
        names, findings, sides = [], [], [np.zeros((0, 4), np.float32)]
        missing = sum(self.lengths)
        with self._damage_named():
            for batch in dataset:
                missing -= len(batch["image_name"].numpy())
                counts = batch["boxes/finding"].row_lengths().numpy()
                names.extend(name.decode() for name in batch["image_name"].numpy().repeat(counts))
                findings.extend(FINDINGS[index] for index in batch["boxes/finding"].values.numpy())
                sides.append(batch["boxes/box"].values.numpy().reshape(-1, 4))
            _refuse_missing(missing)
        table = pd.DataFrame(np.concatenate(sides).astype(np.float64), columns=["x", "y", "w", "h"])
        table.insert(0, "image_name", pd.Series(names, dtype="str"))
        table.insert(1, "finding", pd.Series(findings, dtype="str"))
        return table

    def _windows(self, order: Order, first: int) -> tf.data.Dataset:
        """Returns the windows of the order's stream from number `first` on, decoded.

        Records travel and are decoded a turn at a time, since each element costs tf.data some time.
        """
        groups, _, counts = order.turns(self.lengths).T
        start = first * order.window
        turn = int(np.searchsorted(np.cumsum(counts), start, side="right"))
        skipped = int(np.searchsorted(groups, groups[turn]))
        surplus = start - int(counts[:turn].sum())
        paths = [[self.paths[file] for file in group] for group in order.groups[groups[turn] :]]
        turns = (
            tf.data.Dataset.from_tensor_slices(tf.ragged.constant(paths))
            .flat_map(functools.partial(_read_in_turns, turn=order.turn))
            .skip(turn - skipped)
            .map(self._decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        )
        if not surplus:
            return turns.rebatch(order.window)
        windows = math.ceil((len(order.rows) - start) / order.window)
        return turns.rebatch(np.array([surplus, *windows * [order.window]])).skip(1)

    def _decode(self, records: tf.Tensor) -> dict[str, Any]:
        whole = tf.io.FixedLenFeature([], tf.int64)
        text = tf.io.FixedLenFeature([], tf.string)
        fields = {
            "image": text,
            "image_name": text,
            "labels": tf.io.FixedLenFeature([len(FINDINGS)], tf.int64),
            "png_size": tf.io.FixedLenFeature([2], tf.int64),
            **dict.fromkeys(("patient", "age", "sex", "view", "follow_up"), whole),
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
                f"{self._find_damage(error)}; remove the folder and run launch/prepare.py again"
            ) from error

    def _find_damage(self, error: Exception) -> str:
        for path, length in zip(self.paths, self.lengths, strict=True):
            try:
                records = tf.data.TFRecordDataset(path)
                found = int(records.reduce(np.int64(0), lambda count, _: count + 1))
            except tf.errors.NotFoundError:
                return f"{path}: the record file is gone"
            except tf.errors.OpError:
                return f"{path}: damaged record file"
            if found != length:
                return f"{path}: holds {found} of {length} records"
        return f"{self.paths[0]}: these record files cannot be read ({error})"


def _refuse_missing(missing: int) -> None:
    """Ends where files were cut between two records, which TensorFlow takes for their end."""
    if missing:
        raise tf.errors.DataLossError(None, None, f"{missing} records are missing")


def _read_in_turns(paths: tf.Tensor, turn: int) -> tf.data.Dataset:
    """Returns the records of some files, a turn at a time.

    One thread reads them: with `num_parallel_calls` a warm read took a fifth more processor time.
    """
    return tf.data.Dataset.from_tensor_slices(paths).interleave(
        lambda path: tf.data.TFRecordDataset(path, buffer_size=_BUFFER_BYTES).batch(turn),
        cycle_length=FILES_PER_GROUP,
        block_length=1,
    )


def _take(window: Mapping[str, tf.Tensor], rows: tf.Tensor) -> dict[str, tf.Tensor]:
    return {field: tf.gather(values, rows) for field, values in window.items()}


def _with_words(batch: Any) -> dict[str, np.ndarray]:
    """Returns the batch with strings where the records hold bytes and class numbers."""
    return {
        **batch,
        "image_name": np.array([name.decode() for name in batch["image_name"]], np.str_),
        "sex": _SEXES[batch["sex"]],
        "view": _VIEWS[batch["view"]],
    }
