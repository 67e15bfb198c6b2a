"""Preparing on a cluster: the same records, made by an Apache Beam pipeline."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jaxcxr.data.chest_xray14.records import ArchiveSource, Record, Source, read_record
from jaxcxr.errors import UserError

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError:
    beam = PipelineOptions = None


def examples(sources: Iterable[Source | ArchiveSource], image_size: int) -> Any:
    """Returns the transform that gives each radiograph's name and record.

    Args:
        sources: Whose files every worker can read; one worker reads an archive.
        image_size: Height and width to store, in pixels.
    """
    assert beam, "options_of has checked it"
    return beam.Create(list(sources), reshuffle=True) | beam.FlatMap(
        functools.partial(_examples, image_size=image_size)
    )


def options_of(words: Sequence[str]) -> Any:
    """Returns Beam's options of words such as "--direct_num_workers=2".

    Raises:
        UserError: Apache Beam is not installed.
    """
    if PipelineOptions is None:
        raise UserError("Apache Beam is not installed; pip install 'jaxcxr[beam]'")
    return PipelineOptions(list(words))


def _examples(source: Source | ArchiveSource, image_size: int) -> Iterator[tuple[str, Record]]:
    for opened in source.opened():
        yield opened.image_name, read_record(opened, image_size)
