"""All that is to be measured on a machine with a GPU, in one command of at most nine minutes.

python -m benchmarks.gpu
python -m benchmarks.gpu --parts max_autotune variants --minutes 4
python -m benchmarks.gpu --dry_run

Appends a JSON line for each result to benchmarks/results/DEVICE-DATE.jsonl as soon as it is there.
A part that fails leaves a line with its error, one that no longer fits into the time says so; the
others follow. A dry run does the same on the CPU, with tiny networks. Needs JAX, Flax, Optax and
PyTorch; neither TensorFlow nor a dataset, and the package need not be installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gpu_work, networks
from benchmarks.machine import describe
from benchmarks.paired import Child, summary

_ROOT = Path(__file__).parents[1]
_STUDY = ("baseline", "space_attention", "attention_gated")
_NETWORKS = (*_STUDY, "pcam", "densenet121")
_MODES = ("default", "reduce-overhead")
"""Of torch.compile; the second one records CUDA graphs."""

_PEAKS = {"H100 80GB HBM3": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}
"""bfloat16 operations and bytes of memory per second, without sparsity, from the data sheets."""

_MOST = {
    "float32": {"gradients": 1e-3, "losses": 1e-4},
    "tf32": {"gradients": 3e-1, "losses": 2e-2},
    "bfloat16": {"gradients": 9e-1, "losses": 1e-1},
}
"""Tolerated relative errors against float64.

Batch norm of 16 images of 64×64 pixels multiplies what the layers round: ResNet-34's gradients in
bfloat16 were off by 0.66 on a CPU, its losses by 0.026.
"""

_VARIANTS: dict[str, tuple[str, str]] = {
    "steps_in_a_scan": ("steps_in_a_scan", ""),
    "no_collectives": ("no_collectives", ""),
    "variance_in_one_pass": ("variance_in_one_pass", ""),
    "stem_of_4_channels": ("stem_of_4_channels", ""),
    "no_command_buffers": ("", "--xla_gpu_enable_command_buffer="),
    "fused_convolutions": ("", "--xla_gpu_experimental_enable_conv_fusion=true"),
    "latency_hiding": ("", "--xla_gpu_enable_latency_hiding_scheduler=true"),
    "autotuned_fusions": ("", "--xla_gpu_experimental_enable_fusion_autotuner=true"),
}
"""Changes of the program and flags of XLA, by what they may show."""

Result = dict[str, Any]
Job = tuple[Result, Callable[[float], Result]]
"""What is measured, and the measurement, given the time (`time.monotonic`) to end by."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What is measured, and how much of it; the sizes are those of a dry run.

    Attributes:
        networks: Names in `benchmarks.networks`.
        out: Folder of the results.
        deadline: When everything has to end, a time of `time.monotonic`.
        device: Name of the GPU; None in a dry run.
        image_size: Pixels.
        batch_size: Images per step.
        steps: Between two looks at the clock.
        epoch_steps: Of an epoch.
        rounds: How often each way is measured.
        check: Pixels, and images per step, of the comparison with float64.
    """

    networks: tuple[str, ...]
    out: Path
    deadline: float
    device: str | None = None
    image_size: int = 64
    batch_size: int = 4
    steps: int = 2
    epoch_steps: int = 3
    rounds: int = 2
    check: tuple[int, int] = (32, 8)

    def end_of(self, part: str) -> float:
        """Returns when a job that begins now is given up; a dry run is not in a hurry."""
        most = _PARTS[part].most_seconds if self.device else math.inf
        return min(time.monotonic() + most, self.deadline)

    def name(self, network: str) -> str:
        """Returns the name of a network of the size of this run."""
        return network if self.device else f"tiny_{network}"

    def work(self, network: str) -> dict[str, Any]:
        """Returns the arguments of a network's work in bfloat16."""
        return {
            "name": self.name(network),
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "steps": self.steps,
            "compute_dtype": "bfloat16",
        }


_FULL = {
    "image_size": 256,
    "batch_size": 128,
    "steps": 10,
    "epoch_steps": 60,
    "rounds": 7,
    "check": (64, 16),
}
"""Sizes on a GPU; an epoch of NIH has 588 steps."""


def check(run: Run) -> Iterator[Job]:
    """Compares gradients and losses with float64; meanwhile, nothing is timed, PyTorch compiles."""
    size, batch = run.check
    by = run.end_of("check")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled, steps = {}, {}
        for network in reversed(run.networks):  # the last one takes longest
            works = [{**run.work(network), "steps": 1, "mode": _MODES[0]}]
            compiled[network] = pool.submit(
                _in_child, gpu_work.compile_in_torch, {"works": works}, by
            )
        for network in [network for network in run.networks if network in _STUDY]:
            arguments = {"name": run.name(network), "image_size": size, "batch_size": batch}
            exact = {**arguments, "ways": [("float64", "default")]}
            others = {**arguments, "ways": list(_WAYS.values())}
            steps[network] = (
                pool.submit(_in_child, gpu_work.five_steps, exact, by, _ON_CPU),
                pool.submit(_in_child, gpu_work.five_steps, others, by),
            )
        for network, futures in steps.items():
            yield {"network": network}, partial(_errors, *futures)
        for network, future in compiled.items():
            yield {"network": network, "of": "torch.compile"}, partial(_finished, future)


_ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
_WAYS = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "default"),
    "bfloat16": ("bfloat16", "default"),
}
"""Dtype of the layers, and JAX's precision of products: a GPU takes TF32 by default."""


def _in_child(
    prepare: Callable[..., Any],
    arguments: Mapping[str, Any],
    by: float,
    environment: Mapping[str, str] | None = None,
) -> Any:
    child = Child(prepare, arguments, environment)
    try:
        return child.result(by)
    finally:
        child.end()


def _finished(future: Future, by: float) -> Any:
    return future.result(by - time.monotonic())


def _errors(exact: Future, others: Future, by: float) -> Result:
    (right,), results = _finished(exact, by), _finished(others, by)
    errors = {
        way: {name: _relative_error(result[name], right[name]) for name in result}
        for way, result in zip(_WAYS, results, strict=True)
    }
    passed = all(errors[way][name] < most for way in _WAYS for name, most in _MOST[way].items())
    return {"relative_error": errors, "tolerance": _MOST, "passed": passed}


def _relative_error(result: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(result - exact) / np.linalg.norm(exact))


def training(run: Run) -> Iterator[Job]:
    """Measures training steps."""
    for network in run.networks:
        yield {"network": network}, partial(_against_torch, run, network, "train", _MODES)


def inference(run: Run) -> Iterator[Job]:
    """Measures batches of inference."""
    for network in run.networks:
        yield {"network": network}, partial(_against_torch, run, network, "infer", _MODES)


def max_autotune(run: Run) -> Iterator[Job]:
    """Measures training steps against the mode of torch.compile that searches for minutes."""
    network, modes = run.networks[0], ("max-autotune-no-cudagraphs",)
    yield {"network": network}, partial(_against_torch, run, network, "train", modes)


def _against_torch(run: Run, network: str, work: str, modes: tuple[str, ...], by: float) -> Result:
    ours, peer = {
        "train": (networks.train_here, networks.train_in_torch),
        "infer": (networks.infer_on_device, networks.infer_in_torch),
    }[work]
    children = {"ours": Child(ours, run.work(network))}
    children |= {mode: Child(peer, {**run.work(network), "mode": mode}) for mode in modes}
    try:
        return _in_turns(children, run, by)
    finally:
        for child in children.values():
            child.end()


def _in_turns(children: Mapping[str, Child], run: Run, by: float) -> Result:
    """Measures images/s; a way that fails or is not ready in time is left out."""
    ready, rates, errors = {}, {}, {}
    for turn in range(1 + run.rounds):
        for way, child in children.items():
            if way in errors:
                continue
            try:
                if turn == 0:
                    ready[way] = round(child.preparation(by), 1)
                    continue
                seconds = child.turn(by, rest=0)
                rates.setdefault(way, []).append(run.batch_size * run.steps / seconds)
            except (RuntimeError, TimeoutError) as error:
                errors[way] = str(error)[-1500:]
    measured = {**summary(rates), "rounds": run.rounds} if rates else {}
    memory = {way: children[way].peak_memory() for way in rates if way not in errors}
    failed = {"error": errors} if errors else {}
    return {**measured, "seconds_to_first_step": ready, "peak_memory_bytes": memory, **failed}


def epochs(run: Run) -> Iterator[Job]:
    """Measures epochs by where the radiographs are, against as many steps with one batch."""
    network = run.networks[0]
    arguments = {**run.work(network), "steps": run.epoch_steps, "rounds": run.rounds}

    def measured(by: float) -> Result:
        rates = _in_child(gpu_work.epochs, arguments, by)
        result = summary(rates)
        medians = result["unit_per_second"]
        step = medians["step"]
        return {**result, "ratio": {way: round(rate / step, 3) for way, rate in medians.items()}}

    yield {"network": network, "steps": run.epoch_steps}, measured


def profile(run: Run) -> Iterator[Job]:
    """Measures which kernels a training step's time goes to, against the limits of the device."""
    network = run.networks[0]

    def measured(by: float) -> Result:
        result = _in_child(gpu_work.profile, {**run.work(network), "out": str(run.out)}, by)
        return {**result, **_shares(run.device, result)}

    yield {"network": network}, measured


def _shares(device: str | None, result: Result) -> Result:
    """Returns shares of the data sheet's limits; None for a device that is not in the table."""
    known = [limits for name, limits in _PEAKS.items() if device and name in device]
    if not known:
        return {"share_of_peak": None, "share_of_peak_in_convolutions": None, "roofline_ms": None}
    (peak, bandwidth), flop = known[0], result["convolution_flop"]
    roofline = 1e3 * max(flop / peak, (result["bytes_accessed"] or 0) / bandwidth)
    in_convolutions = result["convolutions_ms"] and 1e3 * flop / result["convolutions_ms"] / peak
    return {
        "share_of_peak": round(1e3 * flop / result["step_ms"] / peak, 3),
        "share_of_peak_in_convolutions": round(in_convolutions, 3),
        "roofline_ms": round(roofline, 2),
        "share_of_roofline": round(roofline / result["step_ms"], 3),
    }


def variants(run: Run) -> Iterator[Job]:
    """Measures training steps with one change each, in turns with the unchanged step."""
    network = run.networks[0]
    unchanged = Child(gpu_work.variant, {**run.work(network), "change": ""})
    try:
        for name, (change, flag) in _VARIANTS.items():
            measured = partial(_variant, run, network, unchanged, change, flag)
            yield {"network": network, "variant": name}, measured
    finally:
        unchanged.end()


def _variant(run: Run, network: str, unchanged: Child, change: str, flag: str, by: float) -> Result:
    flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"}
    changed = Child(gpu_work.variant, {**run.work(network), "change": change}, flags)
    try:
        return _in_turns({"ours": changed, "unchanged": unchanged}, run, by)
    finally:
        changed.end()


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the program.

    Attributes:
        jobs: Yields what is measured.
        seconds: What one job takes on a GPU; with less time left it is not begun.
        most_seconds: When a job is given up.
    """

    jobs: Callable[[Run], Iterator[Job]]
    seconds: float
    most_seconds: float


_PARTS = {
    "check": Part(check, 60, 150),
    "training": Part(training, 45, 150),
    "inference": Part(inference, 30, 90),
    "epochs": Part(epochs, 60, 120),
    "profile": Part(profile, 30, 90),
    "max_autotune": Part(max_autotune, 100, 200),
    "variants": Part(variants, 30, 90),
}


def results(run: Run, parts: list[str]) -> Iterator[Result]:
    """Yields a line for each job, in order."""
    for name in parts:
        part = _PARTS[name]
        for what, measured in part.jobs(run):
            start = time.monotonic()
            left = run.deadline - start
            if left < part.seconds:
                line = {"skipped": f"{left:.0f} s were left, of about {part.seconds} s"}
            else:
                line = _attempt(measured, run.end_of(name))
            took = time.monotonic() - start
            yield {"part": name, **what, **line, "seconds": round(took, 1)}


def _attempt(measured: Callable[[float], Result], by: float) -> Result:
    try:
        return measured(by)
    except Exception:
        return {"error": traceback.format_exc()[-2000:]}


def main() -> int:
    """Measures; returns 1 where something failed."""
    parser = argparse.ArgumentParser(description="Measures everything on a GPU.")
    parser.add_argument("--dry_run", action="store_true", help="on the CPU, with tiny networks")
    parser.add_argument("--minutes", type=float, default=9, help="in total")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=networks.NETWORKS,
        help=f"by default {', '.join(_NETWORKS)}; in a dry run the first and the last",
    )
    parser.add_argument("--out", type=Path, help="folder; by default benchmarks/results")
    arguments = parser.parse_args()
    chosen = arguments.networks or (_NETWORKS[::4] if arguments.dry_run else _NETWORKS)
    out = arguments.out or _ROOT / (".cache" if arguments.dry_run else "benchmarks") / "results"
    machine = describe()
    run = Run(tuple(chosen), out, time.monotonic() + 60 * arguments.minutes)
    if arguments.dry_run:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_enable_xprof_traceme"
        os.environ.update(_ON_CPU | {"XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"})
    elif machine["gpus"]:
        run = dataclasses.replace(run, device=machine["gpus"][0], **_FULL)
    else:
        parser.error("no NVIDIA GPU here (nvidia-smi -L lists none); --dry_run needs none")
    _set_environment()
    name = re.sub(r"[^a-z0-9]+", "_", (run.device or "dry run").lower())
    file = run.out / f"{name}-{machine['date']}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    failed = False
    for line in results(run, arguments.parts):
        failed |= "error" in line or not line.get("passed", True)
        print(json.dumps(line), flush=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({**line, **machine}) + "\n")
    print(f"written to {file}")
    return int(failed)


def _set_environment() -> None:
    """Several processes share the GPU's memory; what they compiled is kept between them."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_ROOT / ".cache" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(_ROOT / ".cache" / "inductor"))


if __name__ == "__main__":
    sys.exit(main())
