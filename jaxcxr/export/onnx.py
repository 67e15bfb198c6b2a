"""ONNX by jax2onnx, run by ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
from jax import export

from jaxcxr.export.portable import INPUT, OUTPUTS, PortableModel, Run, imported

FILE = "model.onnx"
_INSTALL = "pip install 'jaxcxr[onnx]'"


def write(model: PortableModel, folder: Path) -> None:
    """Writes one file; ``metadata_props`` are the fields of ``model.json``, texts or JSON."""
    jax2onnx, onnx, _ = imported(_INSTALL, "jax2onnx", "onnx", "onnxruntime")

    def outputs(images: jax.Array) -> tuple[jax.Array, ...]:
        computed = model(images)
        return tuple(computed[name] for name in OUTPUTS)

    shape = export.symbolic_shape("B, _, _, _", like=(None, *model.image_shape))
    images = jax.ShapeDtypeStruct(shape, np.uint8)
    proto = jax2onnx.to_onnx(outputs, [images], input_names=[INPUT], output_names=OUTPUTS)
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in model.description.items()
    }
    onnx.helper.set_model_props(proto, texts)
    onnx.save(proto, folder / FILE)


def load(folder: Path) -> tuple[str, Run]:
    """Loads the file with ONNX Runtime on the CPU."""
    (onnxruntime,) = imported(_INSTALL, "onnxruntime")
    session = onnxruntime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {INPUT: images}), strict=True))

    return f"ONNX Runtime {onnxruntime.__version__}", run
