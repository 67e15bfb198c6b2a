"""Prepared radiographs as batches.

An epoch is shuffled by tf.data: files in random order, records of `_CYCLE` files in turns, and a
buffer of radiographs from which the next one is drawn. The order depends on the lengths of the
files, the seed and the epoch alone (as long as nobody calls `tf.random.set_seed`), so that streamed
epochs, resumed epochs and those of a split in memory are the same bit for bit. Within a file,
records lie in the order of their names' hashes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxcxr.data.arrays import InMemorySplit, pad_batch, rows_of_process
from jaxcxr.data.quiet_tensorflow import open_dataset, tf, tfds
from jaxcxr.data.releases.release import SEXES, VIEWS
from jaxcxr.data.splits import SPLITS
from jaxcxr.data.variant import DATASET, Variant
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.square import SquareRule

_BUFFER_BYTES = 256 * 1024
_PREFETCHED_BATCHES = 2
_READ_TOGETHER = 256

_CYCLE = 16
"""Record files that are read in turns."""

_SHUFFLED = 8192
"""Radiographs in the shuffle buffer: of a batch of 128, neighbors on disk share 0.8 %."""

_SHUFFLED_BYTES = 1024**3
"""Largest shuffle buffer in bytes; 8,192 radiographs of 256×256 take half of it."""


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of a prepared dataset.

    Attributes:
        paths: Its record files.
        lengths: Number of radiographs in each.
        image_size: Height and width S of the radiographs in pixels.
        numbered_patients: Whether the records have patients as numbers, as those of earlier
            versions.
        unknown_labels: Whether labels are float32, NaN where unknown, rather than uint8.
        sources: Of whose releases the radiographs are; empty in records of earlier versions.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]
    image_size: int
    numbered_patients: bool = False
    unknown_labels: bool = False
    sources: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """Number of radiographs."""
        return sum(self.lengths)

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
            seed: Seed of the order; see `jaxcxr.data.pipeline`.
            epoch: Epoch of the order.
            start_batch: The first batch to yield; records before it are read and dropped.
            process_index: Which of the processes this is.
            process_count: How many processes share each batch; every one yields its rows of it.

        Yields:
            `image` (B, S, S, 1) uint8, `labels` (B, 14) uint8 (float32 in a dataset with unknown
            labels, which are NaN), `mask` (B,) bool (False on padding), `image_name`, `patient`,
            `sex` and `view` (B,) str, `age` (-1: unknown) and `follow_up` (B,) int32, `png_size`
            (B, 2) int32 (width, height of the original), and except in datasets of earlier versions
            `source` (B,) str, where B is batch_size / process_count. Sex and view are as in
            `Release.images`.

        Raises:
            UserError: The batch size does not divide; a record file is damaged or missing.
        """
        rows = rows_of_process(batch_size, process_index, process_count)
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
                yield pad_batch(self._with_words(batch), rows.stop - rows.start)

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
        return InMemorySplit(fields, self.epoch_rows)

    def record(self, row: int) -> dict[str, Any]:
        """Reads one radiograph; of the record files only its own.

        Args:
            row: Its place in stored order.

        Returns:
            The fields of `batches` without their first axis.

        Raises:
            UserError: The record file is damaged or missing.
        """
        ends = np.cumsum(self.lengths)
        file = int(np.searchsorted(ends, row, side="right"))
        own = dataclasses.replace(
            self, paths=self.paths[file:][:1], lengths=self.lengths[file:][:1]
        )
        batches = own.batches(1, start_batch=row - int(ends[file] - self.lengths[file]))
        return {name: values[0] for name, values in next(batches).items()}

    def epoch_rows(self, seed: int, epoch: int) -> np.ndarray:
        """Returns (N,) int64, for each record of an epoch its place in stored order."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        files = (ends - np.array(self.lengths, np.int64), ends)
        places = self._shuffled(files, tf.data.Dataset.range, seed, epoch).batch(sum(self.lengths))
        return next(places.as_numpy_iterator(), np.zeros(0, np.int64))

    def boxes(self) -> pd.DataFrame:
        """Returns the annotated boxes of the split's radiographs.

        Returns:
            Columns image_name, finding (as in `FINDINGS`), x, y, w and h (float pixels of the
            original PNG, origin top left), sorted by image name; the boxes of one image are in the
            release's order.

        Raises:
            UserError: A record file is damaged or missing.
        """
        rows = []
        with self._damage_named():
            for record in self._stored().as_numpy_iterator():
                fields = tf.train.Example.FromString(record).features.feature
                name = fields["image_name"].bytes_list.value[0].decode()
                findings = fields["boxes/finding"].int64_list.value
                sides = np.reshape(fields["boxes/box"].float_list.value, (-1, 4))
                for finding, box in zip(findings, sides, strict=True):
                    rows.append((name, FINDINGS[finding], *box))
        kinds = {"image_name": "str", "finding": "str"} | dict.fromkeys("xywh", np.float64)
        table = pd.DataFrame(rows, columns=[*kinds]).astype(kinds)
        return table.sort_values("image_name", kind="stable", ignore_index=True)

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
        """Shuffles what `read` gives for the files; one thread reads, which is the cheapest."""
        of_files, of_records = np.random.SeedSequence((seed, epoch)).generate_state(2).tolist()
        return (
            tf.data.Dataset.from_tensor_slices(files)
            .shuffle(len(self.paths), of_files)
            .interleave(read, cycle_length=_CYCLE, block_length=1)
            .shuffle(min(_SHUFFLED, _SHUFFLED_BYTES // self.image_size**2), of_records)
        )

    def _decode(self, records: tf.Tensor) -> dict[str, Any]:
        integer = tf.io.FixedLenFeature([], tf.int64)
        text = tf.io.FixedLenFeature([], tf.string)
        fields = {
            "image": text,
            "image_name": text,
            "labels": tf.io.FixedLenFeature(
                [len(FINDINGS)], tf.float32 if self.unknown_labels else tf.int64
            ),
            "png_size": tf.io.FixedLenFeature([2], tf.int64),
            "patient": integer if self.numbered_patients else text,
            **dict.fromkeys(("age", "sex", "view", "follow_up"), integer),
        }
        if self.sources:
            fields["source"] = integer
        batch = tf.io.parse_example(records, fields)
        image = tf.io.decode_raw(batch.pop("image"), tf.uint8)
        image = tf.reshape(image, [-1, self.image_size, self.image_size, 1])
        labels = batch.pop("labels")
        if not self.unknown_labels:
            labels = tf.cast(labels, tf.uint8)
        words = {"image_name": batch.pop("image_name"), "patient": batch.pop("patient")}
        numbers = {field: tf.cast(value, tf.int32) for field, value in batch.items()}
        return {"image": image, "labels": labels, **words, **numbers}

    def _with_words(self, batch: Any) -> dict[str, np.ndarray]:
        """Returns the batch with strings where the records hold bytes and class numbers."""
        words = {"sex": SEXES, "view": VIEWS} | ({"source": self.sources} if self.sources else {})
        return {
            **batch,
            "image_name": np.array([name.decode() for name in batch["image_name"]], np.str_),
            "patient": np.array([*map(_as_text, batch["patient"])], np.str_),
            **{field: np.array(names)[batch[field]] for field, names in words.items()},
        }

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


def _as_text(patient: bytes | np.int64) -> str:
    """Returns a patient as text; the first version of prepared datasets had numbers."""
    return patient.decode() if isinstance(patient, bytes) else str(patient)


@dataclasses.dataclass(frozen=True)
class Data:
    """A prepared dataset.

    Attributes:
        train: The split to learn from.
        validation: The split that decides about the best epoch.
        test: The official test list; or drawn, where the release has none.
        facts: Where it comes from: dataset, release, fingerprint of the lists, how radiographs
            became square, whether the test split is NIH's test list, sizes of the splits.
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
        UserError: The dataset does not exist.
    """
    variant = Variant(image_size, split, split_seed, square)
    folder = variant.folder(data_dir)
    if not folder.is_dir():
        raise UserError(_not_there(folder, Path(data_dir), variant))
    try:
        info, kept = open_dataset(folder)
        features: Any = info.features
        kinds = {
            "numbered_patients": not isinstance(features["patient"], tfds.features.Text),
            "unknown_labels": features["labels"].np_dtype == np.float32,
            "sources": tuple(features["source"].names) if "source" in features else (),
        }
        splits = {name: _open_split(info.splits[name], image_size, kinds) for name in SPLITS}
        facts = {
            "dataset": info.full_name,
            **{fact: kept[fact] for fact in ("release", "synthetic", "fingerprint")},
            "nih_test_list": kept.get("nih_test_list", True),  # early versions read nothing else
            "square": kept.get("square", "squash"),  # early versions could do nothing else
            **{name: opened.num_images for name, opened in splits.items()},
        }
    except Exception as error:  # TFDS meets a damaged folder with any exception there is
        raise UserError(
            f"{folder}: not a readable dataset ({error}); remove this folder and prepare it again "
            f"with {variant}"
        ) from error
    return Data(**splits, facts=facts)


def _open_split(info: Any, image_size: int, kinds: dict[str, Any]) -> Split:
    paths = tuple(os.fspath(path) for path in info.filepaths)
    return Split(paths, tuple(info.shard_lengths), image_size, **kinds)


def _not_there(folder: Path, data_dir: Path, variant: Variant) -> str:
    others = sorted(other.parent.name for other in (data_dir.expanduser() / DATASET).glob("*/1*"))
    return f"{folder}: no such dataset; prepare one in {data_dir} with {variant}" + (
        f" (prepared there: {', '.join(others)})" if others else ""
    )
