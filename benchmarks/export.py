"""Exports of full-size networks: difference from JAX, size of the files, images/s beside JAX.

python -m benchmarks.export --networks resnet34_space_attention --formats onnx,tflite

Weights are drawn at random, statistics of batch norm are those of the test images, so that values
are as large as in trained networks. Prints one JSON line for each network and format.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks.machine import describe
from benchmarks.paired import Work, measure

BACKBONES = {"resnet34": "ResNet34", "resnet50": "ResNet50", "densenet121": "DenseNet121"}
HEADS = {
    "baseline": "Baseline",
    "space_attention": "SpaceAttention",
    "attention_gated": "AttentionGated",
    "pcam": "PCAM",
    "log_sum_exp": "LogSumExp",
    "pylon": "Pylon",
}
_FORMATS = ("onnx", "savedmodel", "tflite", "stablehlo", "torch")
_NETWORKS = flags.DEFINE_list("networks", ["resnet34_space_attention"], "Backbone_head, several.")
_TO = flags.DEFINE_list("formats", [*_FORMATS], "What is written.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Images per batch.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "How often each is measured; 0: no speeds.")


def drawn(name: str, image_size: int) -> Any:
    """Returns a predictor of random weights."""
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.models import build_classifier
    from jaxcxr.training.state import initial_variables

    backbone, _, head = name.partition("_")
    config = {"backbone": {"name": BACKBONES[backbone]}, "head": {"name": HEADS[head]}}
    model = build_classifier(config)
    return Predictor(model, initial_variables(model, image_size, 0), image_size)


def trained(name: str, image_size: int) -> Any:
    """Returns a predictor of random weights whose values are of the usual size."""
    import jax

    from jaxcxr.export.exporting import draw_test_images
    from jaxcxr.models.ops.normalization import Mode

    predictor = drawn(name, image_size)
    model, variables = predictor.model, dict(predictor.variables)
    images = model.normalize(draw_test_images(image_size))

    @jax.jit
    def moved(variables: Any) -> Any:
        return model.apply(variables, images, Mode(train=True), mutable=["batch_stats"])[1]

    for _ in range(12):
        variables["batch_stats"] = moved(variables)["batch_stats"]
    return dataclasses.replace(predictor, variables=variables)


def run_jax(name: str, image_size: int, batch_size: int, **_: Any) -> Work:
    """Returns a batch through `Predictor`."""
    predictor, images = drawn(name, image_size), _batch(image_size, batch_size)

    def work() -> None:
        predictor(images)

    return work


def run_export(to: str, folder: str, image_size: int, batch_size: int, **_: Any) -> Work:
    """Returns a batch through the runtime of a written folder."""
    run = importlib.import_module(f"jaxcxr.export.{to}").load(Path(folder))[1]
    images = _batch(image_size, batch_size)

    def work() -> None:
        run(images)

    return work


def _batch(image_size: int, batch_size: int) -> Any:
    from benchmarks.networks import batch

    return batch(image_size, batch_size)["image"]


def main(_: list[str]) -> None:
    """Exports, measures and prints."""
    from jaxcxr.export.exporting import export

    for name in _NETWORKS.value:
        predictor = trained(name, _IMAGE_SIZE.value)
        for to in _TO.value:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / to
                parity = export(predictor, folder, to)
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                arguments = {
                    "name": name,
                    "to": to,
                    "folder": str(folder),
                    "image_size": _IMAGE_SIZE.value,
                    "batch_size": _BATCH_SIZE.value,
                }
                speed, rounds, units = {}, _ROUNDS.value, _BATCH_SIZE.value
                if rounds:
                    speed = measure(run_export, run_jax, arguments, units=units, rounds=rounds)
            facts = {"network": name, "format": to, "megabytes": round(size / 1e6, 1)}
            line = {"benchmark": "export", **facts, **dataclasses.asdict(parity), **speed}
            print(json.dumps({**line, **describe()}), flush=True)


if __name__ == "__main__":
    app.run(main)
