"""TensorFlow Lite's file, for phones and small computers, run by LiteRT."""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import version
from pathlib import Path

from jaxcxr.export import savedmodel
from jaxcxr.export.portable import INPUT, PortableModel, Run, imported

FILE = "model.tflite"
_INSTALL = "pip install 'jaxcxr[tflite]'"


def write(model: PortableModel, folder: Path) -> None:
    """Converts a SavedModel; batches may have any size, one after `resize_tensor_input`."""
    from jaxcxr.data.quiet_tensorflow import tf

    imported(_INSTALL, "ai_edge_litert.interpreter")
    with tempfile.TemporaryDirectory() as place:
        savedmodel.write(model, Path(place))
        (folder / FILE).write_bytes(tf.lite.TFLiteConverter.from_saved_model(place).convert())


def load(folder: Path) -> tuple[str, Run]:
    """Loads the file with LiteRT's interpreter."""
    (litert,) = imported(_INSTALL, "ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(folder / FILE), num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner("serving_default")
    return f"LiteRT {version('ai-edge-litert')}", lambda images: runner(**{INPUT: images})
