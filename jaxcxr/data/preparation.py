"""From a release to a prepared dataset, once and in one piece."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import filelock
import pandas as pd

from jaxcxr.data import phantom
from jaxcxr.data.chest_xray14.chest_xray14_dataset_builder import (
    Builder,
    ChestXray14Config,
)
from jaxcxr.data.quiet_tensorflow import open_dataset, silence, tf, tfds
from jaxcxr.data.releases.combined import combine
from jaxcxr.data.releases.release import Release
from jaxcxr.data.splits import authors_split, is_nih_test_list, refuse_empty, split_by_patient
from jaxcxr.data.variant import Variant
from jaxcxr.errors import UserError
from jaxcxr.files import make_folder, write_text
from jaxcxr.images.square import SquareRule

OnBadImage = Literal["error", "skip"]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What `prepare` did.

    Attributes:
        folder: The prepared dataset; `tfds.builder_from_directory` opens it.
        images: Number of radiographs per split.
        left_out: Names of radiographs that have no usable file, each with the reason.
        suspicious: Names of radiographs that may be no upright frontal chest radiographs, each with
            what was noticed; they are not left out. Apache Beam does not check.
        reused: Whether the dataset was there already.
    """

    folder: Path
    images: Mapping[str, int]
    left_out: Mapping[str, str]
    suspicious: Mapping[str, str]
    reused: bool


def prepare(
    release: Release | Sequence[Release],
    data_dir: str | os.PathLike[str],
    *,
    image_size: int = 256,
    split: str = "by_patient",
    split_seed: int = 0,
    square: SquareRule = "squash",
    on_bad_image: OnBadImage = "error",
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
) -> Preparation:
    """Decodes, resizes and stores a release's radiographs; does nothing where that is done already.

    The dataset appears under its name when it is complete. What was left out is listed in its
    skipped.csv, what looks wrong in its suspicious.csv. The split is drawn from the complete lists:
    a partial download has the same patients in the same splits.

    Args:
        release: What `read_release` found; radiographs that it says are missing are left out. Of
            several, each is split by itself; the records' `source` says whose they are.
        data_dir: Folder of prepared datasets.
        image_size: Height and width S of the stored radiographs.
        split: "by_patient" or "authors"; see `jaxcxr.data.splits`.
        split_seed: Seed of the draw of validation patients.
        square: How radiographs become square, "squash" or "pad"; see `jaxcxr.images.square`.
        on_bad_image: "error" refuses a release with damaged files, "skip" leaves them out.
        beam_runner: Runner by which Apache Beam reads the radiographs, for example "DirectRunner"
            or "FlinkRunner". Its workers must see the release's files and `data_dir`. None: this
            process reads them.
        beam_options: Options of the runner, as Beam's command line takes them.

    Raises:
        UserError: Files are damaged; a split has no images; another release's dataset or another
            process is preparing in the same place; the disk is full; Apache Beam is not
            installed, or is to skip damaged files.
    """
    variant = Variant(image_size, split, split_seed, square)
    folder = variant.folder(data_dir)
    if on_bad_image not in get_args(OnBadImage):
        raise UserError(
            f"on_bad_image is {on_bad_image!r}; use error or skip", argument="on_bad_image"
        )
    beam = _beam_settings(beam_runner, beam_options)
    if beam and on_bad_image == "skip":
        raise UserError(
            "Apache Beam cannot leave out damaged files; delete them, and read the release with "
            "allow_missing",
            argument="on_bad_image",
        )
    releases = [release] if isinstance(release, Release) else [*release]
    parts = pd.concat([_split(release, variant) for release in releases])
    combined, name = combine(releases), " + ".join(part.root.resolve().name for part in releases)
    fingerprint = _fingerprint(combined if len(releases) > 1 else releases[0], parts)
    test = [str(name) for name, part in parts.items() if str(part) == "test"]
    if reused := folder.exists():
        _refuse_other(folder, name, fingerprint)
    else:
        with silence():
            builder = Builder(
                data_dir=os.fspath(folder.parents[2]),
                config=ChestXray14Config(name=variant.name, image_size=image_size, square=square),
                release=combined,
                split=parts,
                skip_damaged=on_bad_image == "skip",
                with_beam=bool(beam),
                metadata={
                    "release": name,
                    "synthetic": any((part.root / phantom.MARKER).is_file() for part in releases),
                    "nih_test_list": is_nih_test_list(test),
                    "fingerprint": fingerprint,
                    "split": split,
                    "split_seed": split_seed,
                    "square": square,
                    "skipped": [],
                    "suspicious": [],
                },
            )
        _generate(builder, folder, beam)
    info, metadata = open_dataset(folder)
    missing = {name: why for release in releases for name, why in release.missing.items()}
    left_out = missing | dict(metadata["skipped"])
    suspicious = dict(metadata.get("suspicious", []))
    for file, reasons in (("skipped.csv", left_out), ("suspicious.csv", suspicious)):
        if reasons:
            _write_reasons(folder / file, reasons)
    images = {name: part.num_examples for name, part in info.splits.items()}
    return Preparation(folder, images, left_out, suspicious, reused)


def _split(release: Release, variant: Variant) -> pd.Series:
    """Returns the split of each radiograph that has a file, by image name."""
    if variant.split == "authors":
        split = authors_split(release.images)
    else:
        split = split_by_patient(release.images, variant.split_seed)
    split.index = pd.Index(release.images["image_name"])
    split = split.drop(list(release.missing), errors="ignore")
    refuse_empty(split.value_counts())
    return split


def _beam_settings(runner: str | None, options: Sequence[str]) -> dict[str, Any]:
    """Returns the arguments for TFDS; none where Apache Beam is not asked for."""
    if runner is None:
        if options:
            raise UserError("beam_options need a runner", argument="beam_runner")
        return {}
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError("Apache Beam is not installed; pip install 'jaxcxr[beam]'") from error
    return {"beam_runner": runner, "beam_options": PipelineOptions(list(options))}


def _fingerprint(release: Release, split: pd.Series) -> str:
    """Returns a SHA-256 over everything that the lists say about the radiographs to prepare."""
    images = release.images.drop(columns="list_position").set_index("image_name")
    table = images.loc[split.index].assign(split=split).sort_index()
    digest = hashlib.sha256(table.to_csv().encode())
    digest.update(release.boxes.to_csv(index=False).encode())
    return digest.hexdigest()


def _refuse_other(folder: Path, release: str, fingerprint: str) -> None:
    try:
        _, metadata = open_dataset(folder)
        same = metadata["fingerprint"] == fingerprint
    except Exception as error:
        raise UserError(
            f"{folder}: not a readable dataset; remove this folder ({error})"
        ) from error
    if not same:
        raise UserError(
            f"{folder} was prepared from other lists or files (release {metadata['release']!r}) "
            f"than {release} has; remove it or choose another folder",
            argument="data_dir",
        )


def _generate(builder: Builder, folder: Path, beam: Mapping[str, Any]) -> None:
    tfds.disable_progress_bar()  # the builder shows one per split
    make_folder(folder.parent)
    lock = filelock.FileLock(folder.parent / ".lock", blocking=False)
    try:
        with lock, silence(), tempfile.TemporaryDirectory() as downloads:
            for abandoned in folder.parent.glob("incomplete.*"):
                shutil.rmtree(abandoned)
            builder.download_and_prepare(
                download_dir=downloads,
                download_config=tfds.download.DownloadConfig(try_download_gcs=False, **beam),
            )
    except UserError:
        raise
    except filelock.Timeout as error:
        raise UserError(f"{folder.parent}: another process is preparing this dataset") from error
    except Exception as error:
        problem = re.search(r"jaxcxr\.[\w.]+Error: (.*?)(?: \[while|\n|$)", str(error))
        if beam and problem:  # a worker's error arrives as text
            raise UserError(problem[1]) from error
        reason = _storage_failure(error)
        if reason is None:
            raise
        raise UserError(
            f"{folder} cannot be written: {reason}; free space or choose another folder",
            argument="data_dir",
        ) from error


def _storage_failure(error: BaseException | None) -> str | None:
    """Returns the reason of an error of the file system, which TFDS may have wrapped in another."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, OSError | tf.errors.OpError):
        return str(error).rpartition("; ")[2]
    return _storage_failure(error.__cause__) if error else None


def _write_reasons(path: Path, reasons: Mapping[str, str]) -> None:
    table = pd.DataFrame({"Image Index": reasons.keys(), "reason": reasons.values()})
    text = table.to_csv(index=False)
    if not path.exists() or path.read_text(encoding="utf-8") != text:  # it may be read-only
        write_text(path, text)
