"""Preparing on a cluster: the same records, made by an Apache Beam pipeline."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jaxcxr.data.chest_xray14.records import ArchiveSource, Record, Source
from jaxcxr.errors import UserError

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError:
    beam = PipelineOptions = None


def examples(sources: Iterable[Source | ArchiveSource], read: Callable[[Source], Record]) -> Any:
    """Returns the transform that gives each radiograph's name and record.

    Args:
        sources: Whose files every worker can read; one worker reads an archive.
        read: Gives the record of one radiograph; workers get a copy of it.
    """
    assert beam, "options_of has checked it"
    return beam.Create(list(sources), reshuffle=True) | beam.FlatMap(
        functools.partial(_examples, read=read)
    )


def options_of(words: Sequence[str]) -> Any:
    """Returns Beam's options of words such as "--direct_num_workers=2".

    Raises:
        UserError: Apache Beam is not installed.
    """
    if PipelineOptions is None:
        raise UserError("Apache Beam is not installed; pip install 'jaxcxr[beam]'")
    return PipelineOptions(list(words))


def _examples(
    source: Source | ArchiveSource, read: Callable[[Source], Record]
) -> Iterator[tuple[str, Record]]:
    for opened in source.opened():
        yield opened.image_name, read(opened)
