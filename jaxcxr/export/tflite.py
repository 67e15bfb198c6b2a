"""TensorFlow Lite's file, for phones and small computers, run by LiteRT."""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.export import savedmodel
from jaxcxr.export.portable import INPUT, OUTPUTS, PortableModel, Run, imported

FILE = "model.tflite"
_INSTALL = "pip install 'jaxcxr[tflite]'"


def write(model: PortableModel, folder: Path) -> None:
    """Converts a SavedModel of single images, or of batches of any size where that fails.

    For batches of any size LiteRT writes every batch norm's constants to whole maps in each call:
    ResNet-34 at 8 instead of 46 images/s, DenseNet-121 at 2 instead of 50 (docs/export.md).
    """
    from jaxcxr.data.quiet_tensorflow import tf

    # isort: split
    from tensorflow.lite.python.convert_phase import ConverterError

    (litert,) = imported(_INSTALL, "ai_edge_litert.interpreter")
    try:
        content = _converted(tf, model, 1)
        litert.Interpreter(model_content=content).allocate_tensors()
    except (ConverterError, RuntimeError):  # some products of maps, of TensorFlow 2.21, LiteRT 2.3
        content = _converted(tf, model, None)
    (folder / FILE).write_bytes(content)


def _converted(tf: Any, model: PortableModel, batch: int | None) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        savedmodel.write(model, Path(place), batch)
        return tf.lite.TFLiteConverter.from_saved_model(place).convert()


def load(folder: Path) -> tuple[str, Run]:
    """Loads the file with LiteRT's interpreter."""
    (litert,) = imported(_INSTALL, "ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(folder / FILE), num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner("serving_default")

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        each = [runner(**{INPUT: image[None]}) for image in images]
        return {name: np.concatenate([outputs[name] for outputs in each]) for name in OUTPUTS}

    return f"LiteRT {version('ai-edge-litert')}", run
