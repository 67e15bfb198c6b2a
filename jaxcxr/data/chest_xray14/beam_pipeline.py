"""Preparing on a cluster: the same records, made by an Apache Beam pipeline."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from jaxcxr.data.chest_xray14.records import Record, Source, read_record
from jaxcxr.errors import UserError

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError:
    beam = PipelineOptions = None


def examples(sources: Iterable[Source], image_size: int) -> Any:
    """Returns the transform that gives each radiograph's name and record.

    Args:
        sources: Whose files every worker can read.
        image_size: Height and width to store, in pixels.
    """
    assert beam, "options_of has checked it"
    return beam.Create(list(sources), reshuffle=True) | beam.Map(
        functools.partial(_example, image_size=image_size)
    )


def options_of(words: Sequence[str]) -> Any:
    """Returns Beam's options of words such as "--direct_num_workers=2".

    Raises:
        UserError: Apache Beam is not installed.
    """
    if PipelineOptions is None:
        raise UserError("Apache Beam is not installed; pip install 'jaxcxr[beam]'")
    return PipelineOptions(list(words))


def _example(source: Source, image_size: int) -> tuple[str, Record]:
    return source.image_name, read_record(source, image_size)
