"""Preparing on a cluster: the same records, made by an Apache Beam pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jaxcxr.data.chest_xray14.records import Record, Source
from jaxcxr.errors import UserError

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError:
    beam = PipelineOptions = None


def examples(sources: Iterable[Source], read: Callable[..., tuple[Record, Any]]) -> Any:
    """Returns the transform that gives each radiograph's name and record.

    Args:
        sources: Whose files every worker can read; one worker reads an archive.
        read: Gives the record of one radiograph; workers get a copy of it.
    """
    assert beam, "options_of has checked it"

    def records(source: Source) -> Iterator[tuple[str, Record]]:
        for path, record, content in source.opened():
            yield record["image_name"], read(path, record, content)[0]

    return beam.Create(list(sources), reshuffle=True) | beam.FlatMap(records)


def options_of(words: Sequence[str]) -> Any:
    """Returns Beam's options of words such as "--direct_num_workers=2".

    Raises:
        UserError: Apache Beam is not installed.
    """
    if PipelineOptions is None:
        raise UserError("Apache Beam is not installed; pip install 'jaxcxr[beam]'")
    return PipelineOptions(list(words))
