"""Images/s of `jaxcxr predict` against its network alone and its decoder alone; cores, memory.

python -m benchmarks.predict --images 200

Radiographs are noise of 1024×1024 pixels, as PNG, or as DICOM of 12 bits without compression. The
decoder's rate is that of reading and resizing in one thread per core. The target is 0.9 of the
slower of the two. On a CPU both share the cores: there, 1 / (1 / network + 1 / decoder) is the most
that is possible. `busy_cores` is the processor time of `predict_files` over the clock's.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

import jaxcxr as cxr
from benchmarks.machine import describe
from jaxcxr.cli.cpu_devices import use_device_per_core
from jaxcxr.inference.prediction import in_threads, predict_files, prepare
from jaxcxr.training.state import initial_variables
from tests.dicom_files import dicom_bytes

_IMAGES = flags.DEFINE_integer("images", 200, "Files; memory is measured with as many again.")
_SIDE = flags.DEFINE_integer("side", 1024, "Height and width of the files in pixels.")
_FORMAT = flags.DEFINE_enum("format", "png", ["png", "dicom"], "Format of the files.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Radiographs at a time.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels of the network's input.")

_PEAK = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("jaxcxr.cli", run_name="__main__")
finally:
    print("MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main(_: list[str]) -> None:
    """Measures and prints one JSON line."""
    network = cxr.Classifier(cxr.ResNet34(), cxr.Baseline())
    size, batch, images = _IMAGE_SIZE.value, _BATCH_SIZE.value, _IMAGES.value
    use_device_per_core()
    model = cxr.Predictor(network, initial_variables(network, size, seed=0), size)
    with tempfile.TemporaryDirectory() as place:
        model.save(Path(place) / "model")
        paths = write_radiographs(Path(place) / "scans", 2 * images)
        inputs = np.zeros((batch, size, size, 1), np.uint8)
        model(inputs)  # compiles
        seconds = {
            "network": seconds_of(lambda: [model(inputs) for _ in range(images // batch)]),
            "decoder": seconds_of(lambda: decode(paths[:images], size)),
        }
        began = time.process_time()
        seconds["predict_files"] = seconds_of(lambda: predict(model, paths[:images], batch))
        busy = (time.process_time() - began) / seconds["predict_files"]
        memory = {f"{n} files": peak(Path(place), paths[:n]) for n in (images, 2 * images)}
    done = {"network": images // batch * batch}
    rates = {name: round(done.get(name, images) / value, 1) for name, value in seconds.items()}
    slower = min(rates["network"], rates["decoder"])
    settings = {
        "images": images,
        "format": _FORMAT.value,
        "side": _SIDE.value,
        "batch_size": batch,
        "image_size": size,
    }
    result = {
        "images_per_second": rates,
        "of_the_slower": round(rates["predict_files"] / slower, 3),
        "busy_cores": f"{busy:.2f} of {os.cpu_count()}",
        "peak_mib": memory,
    }
    print(json.dumps({"benchmark": "predict", **settings, **result, **describe()}))


def write_radiographs(folder: Path, count: int) -> list[Path]:
    """Writes noise as files."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{number:05}.{_FORMAT.value}" for number in range(count)]
    for path in paths:
        coarse = rng.integers(0, 256, (_SIDE.value // 8, _SIDE.value // 8), np.uint8)
        noise = Image.fromarray(coarse).resize((_SIDE.value, _SIDE.value))
        if _FORMAT.value == "png":
            noise.save(path, compress_level=1)
        else:
            path.write_bytes(dicom_bytes(16 * np.asarray(noise, np.uint16), bits=12))
    return paths


def seconds_of(work: Callable[[], object]) -> float:
    """Returns how long a function takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def decode(paths: list[Path], size: int) -> None:
    """Reads and resizes files in as many threads as `predict_files` uses."""
    for _ in in_threads(lambda path: prepare("", path, size, "squash"), paths, ahead=32):
        pass


def predict(model: cxr.Predictor, paths: list[Path], batch_size: int) -> None:
    """Predicts files as the program does, without its tables."""

    def refuse(path: str, reason: str) -> None:
        raise AssertionError(f"{path}: {reason}")

    for _ in predict_files(
        model, model.image_size, "squash", paths, batch_size=batch_size, refuse=refuse
    ):
        pass


def peak(place: Path, paths: list[Path]) -> int:
    """Returns the peak memory of the program in MiB."""
    words = ["predict", f"--model={place}/model", f"--out={place}/{len(paths)}", "--nooverlays"]
    command = [sys.executable, "-c", _PEAK, "jaxcxr", *words, f"--batch_size={_BATCH_SIZE.value}"]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


if __name__ == "__main__":
    app.run(main)
