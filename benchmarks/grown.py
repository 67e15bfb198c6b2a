"""A prepared dataset grown to the size of another, by copies of its record files."""

import dataclasses
import json
import math
import shutil
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Grown:
    """A prepared dataset whose record files were copied.

    Attributes:
        data_dir: Where it is.
        records: Number of radiographs.
        paths: The record files.
    """

    data_dir: Path
    records: int
    paths: tuple[Path, ...]


def grow(source: Path, target: Path, records: int) -> Grown:
    """Copies a prepared dataset, with every record file as often as `records` radiographs need.

    Args:
        source: Folder of the prepared dataset.
        target: Folder to make.
        records: How many there are to be, at least.

    Raises:
        SystemExit: There is no prepared dataset.
    """
    if not source.is_dir():
        raise SystemExit(f"error: {source}: no prepared dataset; jaxcxr prepare makes it")
    info = json.loads((source / "dataset_info.json").read_text())
    lengths = {split["name"]: list(map(int, split["shardLengths"])) for split in info["splits"]}
    times = math.ceil(records / sum(map(sum, lengths.values())))
    files = shutil.ignore_patterns("*.tfrecord*")
    shutil.copytree(source, target, ignore=files)
    paths = []
    for split in info["splits"]:
        shards = sorted(source.glob(f"*-{split['name']}.tfrecord-*"))
        stem = shards[0].name.rpartition("tfrecord-")[0]
        count = times * len(shards)
        for index in range(count):
            paths.append(target / f"{stem}tfrecord-{index:05d}-of-{count:05d}")
            shutil.copyfile(shards[index % len(shards)], paths[-1])
        split["shardLengths"] = times * split["shardLengths"]
        split["numBytes"] = str(times * int(split["numBytes"]))
    (target / "dataset_info.json").write_text(json.dumps(info))
    return Grown(target.parents[2], times * sum(map(sum, lengths.values())), tuple(paths))
