"""TensorFlow and TFDS as this package uses them: silent, frugal and away from the GPU."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, cast

from absl import logging


@contextmanager
def _without_native_messages() -> Iterator[None]:
    """Drops what C++ code writes to standard error, which no setting of TensorFlow 2.21 stops."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with _without_native_messages():
    import tensorflow as tf
    import tensorflow_datasets as tfds

    with suppress(RuntimeError):  # a program that computes with TensorFlow keeps its devices
        tf.config.set_visible_devices([], "GPU")

__all__ = ["open_dataset", "silence", "tf", "tfds"]


@contextmanager
def silence() -> Iterator[None]:
    """Keeps TFDS from printing, and from logging below errors, while the block runs."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def open_dataset(folder: Path) -> tuple[tfds.core.DatasetInfo, dict[str, Any]]:
    """Opens a prepared dataset; any exception means that it is not one, or that it is damaged.

    Returns:
        The description by TFDS, and the metadata that `prepare` stored with it.
    """
    with silence():
        info = tfds.builder_from_directory(os.fspath(folder)).info
    return info, dict(cast(tfds.core.MetadataDict, info.metadata))
