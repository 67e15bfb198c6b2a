"""The TFDS builder of ChestX-ray14."""

# pandas annotates what indexing and itertuples() give as wide unions:
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from jaxcxr.data.chest_xray14.records import Record, listed_records, read_record
from jaxcxr.data.quiet_tensorflow import tfds
from jaxcxr.data.releases.release import SEXES, VIEWS, Release
from jaxcxr.data.splits import SPLITS
from jaxcxr.data.variant import VERSION
from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.radiograph import DamagedImageError
from jaxcxr.images.square import SquareRule

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
            with_beam: Whether Apache Beam reads the files; it does not leave out damaged ones.
            metadata: Kept with the dataset, readable as `builder.info.metadata`.
            **kwargs: `data_dir` and `config`, as every TFDS builder takes them.
        """
        self._release = release
        self._split = pd.Series(dtype=str) if split is None else split
        self._skip_damaged = skip_damaged
        self._with_beam = with_beam
        self._metadata = tfds.core.MetadataDict(metadata or {})
        self._damaged: list[DamagedImageError] = []
        self._suspicious: list[list[str]] = []
        super().__init__(**kwargs)

    @property
    def _config(self) -> ChestXray14Config:
        assert isinstance(self.builder_config, ChestXray14Config)
        return self.builder_config

    def _info(self) -> tfds.core.DatasetInfo:
        size = self._config.image_size
        images = pd.DataFrame(columns=list(FINDINGS), dtype=np.uint8)
        if self._release is not None:
            images = self._release.images
        known = all(images[finding].dtype == np.uint8 for finding in FINDINGS)
        sources = sorted({*images["source"]}) if "source" in images else []
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Tensor(
                    shape=(size, size, 1), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
                ),
                "labels": tfds.features.Tensor(
                    shape=(len(FINDINGS),), dtype=np.uint8 if known else np.float32
                ),
                "image_name": tfds.features.Text(),
                "source": tfds.features.ClassLabel(names=sources),
                "patient": tfds.features.Text(),
                "age": np.int32,
                "sex": tfds.features.ClassLabel(names=list(SEXES)),
                "view": tfds.features.ClassLabel(names=list(VIEWS)),
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
        images = self._release.images
        parts = {split: images[images["image_name"].map(self._split) == split] for split in SPLITS}
        if self._with_beam:
            return {split: self._beam_examples(part) for split, part in parts.items()}
        return {split: self._generate_examples(split, part) for split, part in parts.items()}

    def _generate_examples(self, split: str, images: pd.DataFrame) -> Iterator[tuple[str, Record]]:
        assert self._release is not None
        made = 0
        with tqdm(total=len(images), desc=f"{split:>10}", unit=" images", disable=None) as bar:
            for future in self._read_in_threads(images):
                bar.update()
                try:
                    record = future.result()
                except DamagedImageError as error:
                    self._damaged.append(error)
                    continue
                notes = record.pop("notes")
                if record["view"] == "lateral":
                    notes += ("its view is lateral",)
                if notes:
                    self._suspicious.append([record["image_name"], "; ".join(notes)])
                yield record["image_name"], record
                made += 1
        if not self._skip_damaged and self._damaged and (split == SPLITS[-1] or not made):
            lines = [
                f"damaged radiographs: {len(self._damaged)}; download them again, or leave them "
                "out with on_bad_image=skip",
                *map(str, self._damaged),
            ]
            raise UserError("\n  ".join(lines))
        if not made:
            raise UserError(
                f"no usable radiograph for the {split} split: all {len(self._damaged)} that were "
                "tried are damaged"
            )
        names = {path: name for name, path in self._release.image_paths.items()}
        self._metadata["suspicious"] = sorted(self._suspicious)
        self._metadata["skipped"] = [
            [names.get(error.path, error.path.name), error.reason] for error in self._damaged
        ]

    def _beam_examples(self, images: pd.DataFrame) -> Any:
        """Returns Beam's transform that gives names and records; one worker reads an archive."""
        import apache_beam as beam

        release, image_size, square = self._release, self._config.image_size, self._config.square
        assert release is not None

        def read(rows: pd.Index) -> Iterator[tuple[str, Record]]:
            for listed in listed_records(release.images.loc[rows], release):
                record = read_record(*listed, image_size, square)
                del record["notes"]  # no worker sees what the others found
                yield record["image_name"], record

        sources = [
            release.archived[name].archive if name in release.archived else number // 64
            for number, name in enumerate(images["image_name"])
        ]
        groups = images.groupby(pd.Series(sources, images.index), sort=False).groups
        return beam.Create(list(groups.values()), reshuffle=True) | beam.FlatMap(read)

    def _read_in_threads(self, images: pd.DataFrame) -> Iterator[Future[Record]]:
        """Yields what `read_record` gives, in order; Pillow works outside Python's lock."""
        assert self._release is not None
        workers = os.cpu_count() or 1
        waiting: deque[Future[Record]] = deque()
        config = self._config
        with ThreadPoolExecutor(workers) as pool:
            try:
                for listed in listed_records(images, self._release):
                    waiting.append(
                        pool.submit(read_record, *listed, config.image_size, config.square)
                    )
                    if len(waiting) > 4 * workers:
                        yield waiting.popleft()
                yield from waiting
            finally:
                pool.shutdown(cancel_futures=True)
