"""TensorFlow's SavedModel, by jax2tf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.export.portable import INPUT, OUTPUTS, PortableModel, Run


def write(model: PortableModel, folder: Path, batch: int | None = None) -> None:
    """Writes a SavedModel whose signature "serving_default" has named input and outputs.

    Args:
        model: The model.
        folder: Where it is written.
        batch: Number of images in a batch; None for any.
    """
    from jaxcxr.data.quiet_tensorflow import tf  # before jax2tf, which would load it with messages

    # isort: split
    from jax.experimental import jax2tf

    converted = jax2tf.convert(
        model,
        polymorphic_shapes=["batch, ..."] if batch is None else None,
        with_gradient=False,
        native_serialization_platforms=["cpu", "cuda"],
    )
    images = tf.TensorSpec((batch, *model.image_shape), tf.uint8, name=INPUT)
    module: Any = tf.Module()
    module.predict = tf.function(converted, input_signature=[images], autograph=False)
    tf.saved_model.save(module, str(folder), signatures=module.predict)


def load(folder: Path) -> tuple[str, Run]:
    """Loads the SavedModel with TensorFlow."""
    from jaxcxr.data.quiet_tensorflow import tf

    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = signature(**{INPUT: tf.constant(images)})
        return {name: outputs[name].numpy() for name in OUTPUTS}

    return f"TensorFlow {tf.__version__}", run
