"""The TFDS builder of ChestX-ray14."""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from jaxcxr.data.chest_xray14 import beam_pipeline
from jaxcxr.data.chest_xray14.records import Record, Source, read_record, sources
from jaxcxr.data.quiet_tensorflow import tfds
from jaxcxr.data.releases.nih import Release
from jaxcxr.data.splits import SPLITS
from jaxcxr.data.variant import VERSION
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.radiograph import DamagedImageError
from jaxcxr.images.square import SquareRule

_Read = Callable[[Path, Record, bytes | None], tuple[Record, tuple[str, ...]]]

_DESCRIPTION = (
    "112,120 frontal chest radiographs of 30,805 patients with 14 findings, taken from the reports "
    "by language processing, and 984 annotated boxes. The test split is the official test list."
)
_CITATION = """\
@inproceedings{wang2017chestxray8,
  title = {ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
           Classification and Localization of Common Thorax Diseases},
  author = {Wang, Xiaosong and Peng, Yifan and Lu, Le and Lu, Zhiyong and Bagheri, Mohammadhadi
            and Summers, Ronald M.},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2017}
}"""


@dataclasses.dataclass
class ChestXray14Config(tfds.core.BuilderConfig):
    """Height and width of the prepared radiographs in pixels, and how they become square."""

    image_size: int = 256
    square: SquareRule = "squash"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Prepares ChestX-ray14 from a folder on disk; see `jaxcxr.data.prepare`.

    Records are shuffled by the hash of their image's name. Images are stored as raw bytes: reading
    them back costs no decoding.
    """

    VERSION = tfds.core.Version(VERSION)
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 (TFDS declares it)

    def __init__(
        self,
        *,
        release: Release | None = None,
        split: pd.Series | None = None,
        skip_damaged: bool = False,
        with_beam: bool = False,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Creates the builder; to read what is prepared, `kwargs` are enough.

        Args:
            release: The release to read from.
            split: "train", "validation" or "test" for each of its radiographs that has a file, by
                image name.
            skip_damaged: Whether to leave out damaged files rather than to refuse them.
            with_beam: Whether an Apache Beam pipeline does the work.
            metadata: Kept with the dataset, readable as `builder.info.metadata`.
            **kwargs: `data_dir` and `config`, as every TFDS builder takes them.
        """
        self._release = release
        self._split = pd.Series(dtype=str) if split is None else split
        self._skip_damaged = skip_damaged
        self._with_beam = with_beam
        self._metadata = tfds.core.MetadataDict(metadata or {})
        self._damaged: list[DamagedImageError] = []
        self._notes: dict[str, list[str]] = {}
        super().__init__(**kwargs)

    @property
    def _config(self) -> ChestXray14Config:
        assert isinstance(self.builder_config, ChestXray14Config)
        return self.builder_config

    def _info(self) -> tfds.core.DatasetInfo:
        size = self._config.image_size
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Tensor(
                    shape=(size, size, 1), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
                ),
                "labels": tfds.features.Tensor(shape=(len(FINDINGS),), dtype=np.uint8),
                "image_name": tfds.features.Text(),
                "patient": np.int32,
                "age": np.int32,
                "sex": tfds.features.ClassLabel(names=["F", "M"]),
                "view": tfds.features.ClassLabel(names=["PA", "AP"]),
                "follow_up": np.int32,
                "png_size": tfds.features.Tensor(shape=(2,), dtype=np.int32),
                "boxes": tfds.features.Sequence(
                    {
                        "finding": tfds.features.ClassLabel(names=list(FINDINGS)),
                        "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
                    }
                ),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            citation=_CITATION,
            homepage="https://nihcc.app.box.com/v/ChestXray-NIHCC",
            features=features,
            metadata=self._metadata,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded: NIH asks to be visited in person
        if self._release is None:
            raise UserError("nothing to prepare from; call jaxcxr.data.prepare")
        config = self._config
        read = functools.partial(read_record, image_size=config.image_size, square=config.square)
        if self._with_beam:
            return {split: beam_pipeline.examples(self._sources(split), read) for split in SPLITS}
        return {split: self._generate_examples(split, read) for split in SPLITS}

    def _sources(self, split: str) -> Iterator[Source]:
        assert self._release is not None
        images = self._release.images
        names = self._split.index[self._split == split]
        return sources(images[images["image_name"].isin(names)], self._release)

    def _generate_examples(self, split: str, read: _Read) -> Iterator[tuple[str, Record]]:
        todo, made = self._sources(split), 0
        count = int((self._split == split).sum())
        with tqdm(total=count, desc=f"{split:>10}", unit=" images", disable=None) as bar:
            for name, future in _in_parallel(read, todo):
                bar.update()
                try:
                    record, notes = future.result()
                except DamagedImageError as error:
                    self._damaged.append(error)
                    continue
                for note in notes:
                    self._notes.setdefault(_kind(note), [f"{name}: {note}"]).append(name)
                yield name, record
                made += 1
        self._judge(split, made)

    def _judge(self, split: str, made: int) -> None:
        """Refuses damaged files after the last split, so that all of them are named at once."""
        if not self._skip_damaged and (split == SPLITS[-1] or not made):
            refuse_damaged(self._damaged)
        if not made:
            raise UserError(
                f"no usable radiograph for the {split} split: all {len(self._damaged)} that were "
                "tried are damaged"
            )
        self._metadata["skipped"] = [[error.path.name, error.reason] for error in self._damaged]
        self._metadata["notes"] = [
            f"{first} ({len(names):,} radiographs)" for first, *names in self._notes.values()
        ]


def _kind(note: str) -> str:
    return re.sub(r"[-+.\d]+", "", note)


def refuse_damaged(damaged: Sequence[object]) -> None:
    """Raises UserError naming all damaged files, if there are any."""
    if damaged:
        lines = [
            f"damaged radiographs: {len(damaged)}; download them again, or leave them out with "
            "on_bad_image=skip",
            *map(str, damaged),
        ]
        raise UserError("\n  ".join(lines))


def _in_parallel(
    read: _Read, sources: Iterable[Source]
) -> Iterator[tuple[str, Future[tuple[Record, tuple[str, ...]]]]]:
    """Yields each radiograph's name and what `read` gives, in order, read in threads of all cores.

    Pillow works outside Python's global lock. A bounded number of records is waiting at any time.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    waiting: deque[tuple[str, Future[tuple[Record, tuple[str, ...]]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for source in sources:
                for path, record, content in source.opened():
                    name = record["image_name"]
                    waiting.append((name, pool.submit(read, path, record, content)))
                    if len(waiting) > 4 * (workers or 1):
                        yield waiting.popleft()
            yield from waiting
        finally:
            pool.shutdown(cancel_futures=True)
