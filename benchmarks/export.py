"""Exports of full-size networks: difference from JAX, size of the files, images/s beside JAX.

python -m benchmarks.export --networks space_attention,pylon --formats onnx,tflite

Weights are drawn at random, statistics of batch norm are those of the test images, so that values
are as large as in trained networks. Prints one JSON line for each network and format. What is
written stays in --folder and is measured again by the next call, without being exported again.
"""

from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import networks
from benchmarks.machine import describe
from benchmarks.paired import Work, seconds_in_turns, start

NETWORKS = networks.NETWORKS | {"resnet50": ("ResNet50", {"name": "Baseline"})}
_FORMATS = ("onnx", "savedmodel", "tflite", "stablehlo", "torch")
_NETWORKS = flags.DEFINE_list("networks", ["baseline"], f"Some of {', '.join(NETWORKS)}.")
_TO = flags.DEFINE_list("formats", [*_FORMATS], "What is written.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Images per batch.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "How often each is measured; 0: no speeds.")
_FOLDER = flags.DEFINE_string("folder", ".cache/exports", "Where the exports are kept.")


def drawn(name: str, image_size: int) -> Any:
    """Returns a predictor of random weights whose values are of the usual size."""
    import jax

    from jaxcxr.export.exporting import draw_test_images
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.models import build_classifier
    from jaxcxr.models.ops.normalization import Mode
    from jaxcxr.training.state import initial_variables

    backbone, head = NETWORKS[name]
    model = build_classifier({"backbone": {"name": backbone}, "head": head})
    variables = dict(initial_variables(model, image_size, 0))
    images = model.normalize(draw_test_images(image_size))

    @jax.jit
    def moved(variables: Any) -> Any:
        return model.apply(variables, images, Mode(train=True), mutable=["batch_stats"])[1]

    for _ in range(12):
        variables["batch_stats"] = moved(variables)["batch_stats"]
    return Predictor(model, variables, image_size)


def run_jax(model: Path, image_size: int, batch_size: int) -> Work:
    """Returns a batch through `Predictor`."""
    from jaxcxr.inference.predictor import load_model

    predictor, images = load_model(model), networks.batch(image_size, batch_size)["image"]

    def work() -> None:
        predictor(images)

    return work


def run_export(to: str, folder: Path, image_size: int, batch_size: int) -> Work:
    """Returns a batch through the runtime of a written folder."""
    run = importlib.import_module(f"jaxcxr.export.{to}").load(folder)[1]
    images = networks.batch(image_size, batch_size)["image"]

    def work() -> None:
        run(images)

    return work


def main(_: list[str]) -> None:
    """Exports, measures and prints."""
    from jaxcxr.export.exporting import export
    from jaxcxr.inference.predictor import load_model

    size, units, rounds = _IMAGE_SIZE.value, _BATCH_SIZE.value, _ROUNDS.value
    for name in _NETWORKS.value:
        model = Path(_FOLDER.value) / f"{name}_{size}" / "model"
        if not model.exists():
            drawn(name, size).save(model)
        folders = {to: model.with_name(to) for to in _TO.value}
        for to, folder in folders.items():
            if not folder.exists():
                export(load_model(model), folder, to)
        speeds = _speeds(model, folders, size, units, rounds) if rounds else {}
        for to, folder in folders.items():
            parity = json.loads((folder / "parity.json").read_text())
            written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            facts = {"network": name, "format": to, "megabytes": round(written / 1e6, 1)}
            line = {"benchmark": "export", **facts, **parity, **speeds.get(to, {})}
            print(json.dumps({**line, **describe()}), flush=True)


def _speeds(
    model: Path, folders: Mapping[str, Path], image_size: int, batch_size: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Returns images/s of each format and of JAX, the two in turns."""
    sizes = {"image_size": image_size, "batch_size": batch_size}
    jax, speeds = start(run_jax, model=model, **sizes), {}
    for to, folder in folders.items():
        exported = start(run_export, to=to, folder=folder, **sizes)
        seconds = seconds_in_turns({"ours": exported, "jax": jax}, rounds)
        exported.end()
        rates = {name: [batch_size / each for each in times] for name, times in seconds.items()}
        medians = {name: statistics.median(values) for name, values in rates.items()}
        speeds[to] = {
            "images_per_second": {name: round(value, 1) for name, value in medians.items()},
            "range": {name: [round(min(v), 1), round(max(v), 1)] for name, v in rates.items()},
            "ratio": round(medians["ours"] / medians["jax"], 2),
            "rounds": rounds,
        }
    jax.end()
    return speeds


if __name__ == "__main__":
    app.run(main)
