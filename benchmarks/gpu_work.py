"""What the processes of `benchmarks.gpu` do on the device: checks, epochs, a profile, variants."""

from __future__ import annotations

import collections
import contextlib
import gzip
import math
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.paired import Work

STEPS = 5
"""Training steps of the check."""


def five_steps(
    name: str, image_size: int, batch_size: int, ways: list[tuple[str, str]]
) -> list[dict[str, np.ndarray]]:
    """Trains for five steps from weights that are the same on every machine.

    Args:
        name: One of `networks.NETWORKS`.
        image_size: Pixels.
        batch_size: Images per step.
        ways: Dtypes of the layers and JAX's precisions of their products. "highest" forbids TF32.
            A process that computes in "float64" computes everything in it.

    Returns:
        For each way the losses (5,) and the gradients of the first step (parameters,).
    """
    import jax
    import jax.numpy as jnp

    exact = ways[0][0] == "float64"
    if exact:
        jax.config.update("jax_enable_x64", True)
        jnp.float32 = jnp.float64  # of statistics, logits and losses, whatever the layers' dtype
    import optax

    from jaxcxr.models import build_classifier
    from jaxcxr.models.ops.portable import portable_operations
    from jaxcxr.training.devices import device_mesh, shard_batch
    from jaxcxr.training.objective import Objective
    from jaxcxr.training.optimizers import Adam
    from jaxcxr.training.state import create_state, initial_variables
    from jaxcxr.training.steps import TrainStep, make_train_step

    model, mesh = build_classifier(networks.network(name)), device_mesh(jax.devices()[:1])
    keep = optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda gradients, _, params=None: (gradients, gradients),
    )
    adam = optax.chain(keep, Adam().transformation(1, 1))
    shapes = jax.eval_shape(lambda: initial_variables(model, image_size, 0))
    rows = shard_batch(networks.batch(image_size, batch_size), mesh)
    results = []
    for dtype, precision in ways:
        state = create_state(jax.tree.map_with_path(_drawn(), shapes), adam)
        step = make_train_step(TrainStep(Objective(model, compute_dtype=dtype), adam), mesh)
        plain = portable_operations() if exact else contextlib.nullcontext()  # JAX's own
        losses, gradients = [], []
        with plain, jax.default_matmul_precision(precision):
            for _ in range(STEPS):
                state, loss = step(state, rows)
                losses.append(loss)
                gradients = gradients or jax.device_get(jax.tree.leaves(state.opt_state[0]))
        flat = np.concatenate([leaf.ravel() for leaf in gradients])
        assert flat.dtype == (np.float64 if exact else np.float32)
        results.append({"losses": np.asarray(jax.device_get(losses)), "gradients": flat})
    return results


def _drawn() -> Callable[[Any, Any], np.ndarray]:
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if path[-1].key == "kernel":
            deviation = math.sqrt(2 / math.prod(leaf.shape[:-1]))
            values = deviation * rng.standard_normal(leaf.shape, np.float32)
            return values.astype(leaf.dtype)
        return np.full(leaf.shape, path[-1].key in ("scale", "var"), leaf.dtype)

    return draw


def compile_in_torch(works: list[dict[str, Any]]) -> dict[str, float]:
    """Fills torch.compile's cache of code, but not of the configurations that were fastest.

    Those are measured on the GPU, which other processes use at the same time.
    """
    start = time.perf_counter()
    for make in (networks.train_in_torch, networks.infer_in_torch):
        for work in works:
            make(**work)()
    for file in Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).rglob("*.best_config"):
        file.unlink(missing_ok=True)
    return {"seconds_to_first_step": round(time.perf_counter() - start, 1)}


def epochs(
    name: str, image_size: int, batch_size: int, steps: int, compute_dtype: str, rounds: int
) -> dict[str, list[float]]:
    """Returns images/s of epochs by where the radiographs are, and of the step alone, in turns."""
    from benchmarks.epoch import train_epochs

    arguments = (name, image_size, batch_size, steps)
    works = {
        placement: train_epochs(*arguments, placement, compute_dtype)
        for placement in ("device", "host", "streamed")
    }
    works["step"] = networks.train_here(*arguments, compute_dtype)
    rates = collections.defaultdict(list)
    for turn in range(1 + rounds):
        for way, work in works.items():
            start = time.perf_counter()
            work()
            if turn:  # the first one compiles
                rates[way].append(batch_size * steps / (time.perf_counter() - start))
    return dict(rates)


def profile(
    name: str, image_size: int, batch_size: int, steps: int, compute_dtype: str, out: str
) -> dict[str, Any]:
    """Measures the step, its kernels and the device's own limits; writes XLA's code to `out`."""
    import jax

    from jaxcxr.training.devices import shard_batch
    from jaxcxr.training.steps import make_train_step

    work = networks.train_here(name, image_size, batch_size, steps, compute_dtype)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        seconds.append((time.perf_counter() - start) / steps)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            work()
        kernels = {kind: ms / steps for kind, ms in _kernels(Path(folder)).items()}
    ready = networks.training(name, image_size, batch_size, compute_dtype)
    rows = shard_batch(networks.batch(image_size, batch_size), ready.mesh)
    compiled = make_train_step(ready.step(), ready.mesh).lower(ready.state, rows).compile()
    Path(out, f"{name}.hlo.gz").write_bytes(gzip.compress(compiled.as_text().encode()))
    costs = _if_known(compiled.cost_analysis) or {}
    memory = _if_known(compiled.memory_analysis)
    convolutions = sum(ms for kind, ms in kernels.items() if _CONVOLUTION.search(kind))
    return {
        "step_ms": 1e3 * statistics.median(seconds[1:]),
        "kernels_ms": sum(kernels.values()),
        "convolutions_ms": convolutions,
        "convolution_flop": convolution_flop(name, image_size, batch_size),
        "bytes_accessed": costs.get("bytes accessed"),
        "temporary_bytes": memory and memory.temp_size_in_bytes,
        "top_kernels_ms": {kind: round(ms, 3) for kind, ms in list(kernels.items())[:25]},
        "instructions": _instructions(compiled.as_text()),
        **limits(),
    }


def _if_known(analysis: Callable[[], Any]) -> Any:
    with contextlib.suppress(Exception):  # not every version of XLA's GPU backend has it
        return analysis()


_CONVOLUTION = re.compile(r"conv(?!ert)|fprop|dgrad|wgrad|xmma|cudnn|implicit|nvjet", re.IGNORECASE)
"""In the names of kernels, or of the operations that start them."""


def _kernels(folder: Path) -> dict[str, float]:
    """Returns milliseconds by kernel, with the operation of XLA that started it, from a trace."""
    from jax.profiler import ProfileData

    (trace,) = folder.rglob("*.xplane.pb")
    times: collections.Counter[str] = collections.Counter()
    for plane in ProfileData.from_file(str(trace)).planes:
        for line in plane.lines:
            on_gpu = plane.name.startswith("/device:GPU") and line.name.startswith("Stream")
            if not on_gpu and "Eigen" not in (line.name or ""):  # XLA's threads on a CPU
                continue
            for event in line.events:
                if "::" not in event.name or on_gpu:
                    operation = dict(event.stats).get("hlo_op", "")
                    kind = f"{event.name[:100]} {re.sub(r'[.0-9]+$', '', str(operation))}".strip()
                    times[kind] += event.duration_ns / 1e6
    return dict(times.most_common())


def _instructions(code: str) -> dict[str, int]:
    """Counts the instructions of XLA's code that start kernels or copy, by name."""
    kinds = "custom-call|fusion|transpose|copy|convolution|dot|conditional|all-reduce|all-gather"
    names = re.findall(rf" ({kinds})(?:-start)?\(", code)
    targets = re.findall(r'custom_call_target="([^"]+)"', code)
    return dict(collections.Counter([*names, *targets]).most_common())


def convolution_flop(name: str, image_size: int, batch_size: int) -> int:
    """Returns the operations of a training step's convolutions, two for a multiply-add."""
    import jax

    from jaxcxr.models import build_classifier
    from jaxcxr.models.ops.portable import portable_operations
    from jaxcxr.training.state import initial_variables

    model = build_classifier(networks.network(name))
    images = jax.ShapeDtypeStruct((batch_size, image_size, image_size, 3), np.float32)
    variables = jax.eval_shape(lambda: initial_variables(model, image_size, 0))
    with portable_operations():
        first, *others = _convolutions(jax.make_jaxpr(model.apply)(variables, images).jaxpr)
    # The gradients of maps and kernel cost as much as the forward pass; images have no gradient.
    return 2 * first + 3 * sum(others)


def _convolutions(jaxpr: Any) -> Iterator[int]:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel, result = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
            yield 2 * math.prod(result) * math.prod(kernel[:-1])
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _convolutions(inner)


def limits(side: int = 8192) -> dict[str, float]:
    """Returns what a large product of matrices in bfloat16, and a large copy, reach here."""
    import jax
    import jax.numpy as jnp

    side = side if jax.default_backend() == "gpu" else 512
    matrix = jax.random.normal(jax.random.key(0), (side, side), jnp.bfloat16)
    product = _least_seconds(jax.jit(lambda a: a @ a), matrix)
    many = jnp.ones((8, side, side), jnp.bfloat16)
    copy = _least_seconds(jax.jit(lambda a: a + 1), many)
    return {
        "product_tflops": round(2 * side**3 / product / 1e12, 1),
        "copy_tb_per_second": round(2 * many.nbytes / copy / 1e12, 3),
    }


def _least_seconds(function: Callable[[Any], Any], argument: Any) -> float:
    import jax

    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready([function(argument) for _ in range(5)])
        seconds.append((time.perf_counter() - start) / 5)
    return min(seconds)


def variant(change: str, steps: int, **arguments: Any) -> Work:
    """Returns `steps` training steps with one change of the program."""
    if change == "steps_in_a_scan":
        return _train_in_scan(steps=steps, **arguments)
    if change == "stem_of_4_channels":
        _pad_the_stem()
    elif change == "variance_in_one_pass":
        _take_variance_in_one_pass()
    elif change == "no_collectives":
        _leave_out_collectives()
    return networks.train_here(steps=steps, **arguments)


def _train_in_scan(
    name: str, image_size: int, batch_size: int, steps: int, compute_dtype: str
) -> Work:
    import jax

    from jaxcxr.training.devices import BY_ROWS, EVERYWHERE, map_over_devices, shard_batch

    ready = networks.training(name, image_size, batch_size, compute_dtype)
    step, state = ready.step(), ready.state

    def together(state: Any, rows: Any) -> Any:
        return jax.lax.scan(lambda state, _: step(state, rows), state, length=steps)

    dispatch = map_over_devices(together, ready.mesh, (EVERYWHERE, BY_ROWS), donate=0)
    rows = shard_batch(networks.batch(image_size, batch_size), ready.mesh)

    def work() -> None:
        nonlocal state
        state, losses = dispatch(state, rows)
        jax.block_until_ready(losses)

    return work


def _leave_out_collectives() -> None:
    """Makes sums and gathers over the devices, of which there is one, return their argument."""
    import jax

    for name in ("psum", "pmean", "all_gather"):
        setattr(jax.lax, name, lambda values, *_, **__: values)


def _pad_the_stem() -> None:
    """Adds a channel of zeros to convolutions of 3, so that rows of pixels are aligned."""
    import jax.numpy as jnp

    from jaxcxr.models.ops import convolution

    convolve = convolution.convolve

    def padded(x: Any, kernel: Any, *args: Any, **options: Any) -> Any:
        if x.shape[-1] == 3:
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1)))
            kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))
        return convolve(x, kernel, *args, **options)

    convolution.convolve = padded


def _take_variance_in_one_pass() -> None:
    """Makes batch norm read a map once for mean and variance: E[x²] − E[x]²."""
    import jax
    import jax.numpy as jnp

    from jaxcxr.models.backbones import densenet
    from jaxcxr.models.ops import normalization

    def moments(x: Any, mode: Any) -> Any:
        wide = jax.lax.stop_gradient(x).astype(jnp.float32)
        mean, square = (normalization._mean(y, mode.axis_name) for y in (wide, wide * wide))
        return normalization.Moments(mean, jnp.maximum(square - mean * mean, 0))

    normalization.batch_moments = densenet.batch_moments = moments
