"""Milliseconds of ResNet-34's convolutions: ours, XLA's and PyTorch's (oneDNN).

python -m benchmarks.convolutions --image_size 128 --batch_size 8 --cores 1

Each is measured alone, forward and both gradients, float32; the stem's gradient is the kernel's
alone. With one core and half of the batch, it is the share of one of two devices. Prints a table in
Markdown with the sums over the network, and one JSON line.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import networks
from benchmarks.machine import describe
from benchmarks.paired import Child

_IMAGE_SIZE = flags.DEFINE_integer("image_size", 128, "Pixels.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Images.")
_CORES = flags.DEFINE_integer("cores", 1, "How many cores are used.")
_SECONDS = flags.DEFINE_float("seconds", 1.0, "How long each is repeated.")

Shape = tuple[int, int, int, int, int]
"""Height of the maps, channels, features, size of the kernel, stride."""

_WAYS = ("ours", "xla", "torch")


def shapes(image_size: int) -> dict[Shape, int]:
    """Returns the convolutions of ResNet-34 and how often each occurs."""
    counts: dict[Shape, int] = {(image_size, 3, 64, 7, 2): 1}
    side, channels = image_size // 4, 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        features = 64 * 2**stage
        if features > channels:
            counts[side, channels, features, 3, 2] = counts[side, channels, features, 1, 2] = 1
            side //= 2
        counts[side, features, features, 3, 1] = 2 * blocks - (features > channels)
        channels = features
    return counts


def in_jax(
    image_size: int, batch_size: int, cores_used: int, seconds: float, plain: bool
) -> list[Any]:
    """Returns milliseconds (forward, gradients) of each convolution."""
    os.sched_setaffinity(0, range(cores_used))
    import jax

    from jaxcxr.models.ops.compilation import compiler_options
    from jaxcxr.models.ops.convolution import convolve
    from jaxcxr.training.devices import device_mesh

    options, times = compiler_options(device_mesh()), []
    for height, channels, features, size, stride in shapes(image_size):
        key = jax.random.key(0)
        x = jax.random.normal(key, (batch_size, height, height, channels))
        kernel = jax.random.normal(key, (size, size, channels, features)) / (size * channels**0.5)
        way = jax.lax.conv_general_dilated if plain else convolve
        forward = functools.partial(_forward, way, stride)
        pull = functools.partial(_pull, forward)
        gradient = forward(x, kernel)
        work = []
        for function, arguments in ((forward, (x, kernel)), (pull, (x, kernel, gradient))):
            compiled = jax.jit(function, compiler_options=options).lower(*arguments).compile()
            work.append(lambda compiled=compiled, a=arguments: jax.block_until_ready(compiled(*a)))
        times.append([_milliseconds(each, seconds) for each in work])
    return times


def _forward(way: Callable[..., Any], stride: int, x: Any, kernel: Any) -> Any:
    pads, layout = [(len(kernel) // 2,) * 2] * 2, ("NHWC", "HWIO", "NHWC")
    return way(x, kernel, (stride, stride), pads, dimension_numbers=layout)


def _pull(forward: Callable[..., Any], x: Any, kernel: Any, gradient: Any) -> Any:
    import jax

    gradients = jax.vjp(forward, x, kernel)[1](gradient)
    return gradients[x.shape[-1] == 3 :]


def in_torch(image_size: int, batch_size: int, cores_used: int, seconds: float) -> list[Any]:
    """Returns the same of PyTorch, maps with channels last."""
    os.sched_setaffinity(0, range(cores_used))
    import torch

    torch.set_num_threads(cores_used)
    last, times = torch.channels_last, []
    for height, channels, features, size, stride in shapes(image_size):
        layer: Any = torch.nn.Conv2d(channels, features, size, stride, size // 2, bias=False)
        layer = layer.to(memory_format=last)
        x = torch.randn(batch_size, channels, height, height).to(memory_format=last)
        x.requires_grad_(channels != 3)
        result = layer(x)
        gradient = torch.randn_like(result)
        wanted = [each for each in (x, layer.weight) if each.requires_grad]

        pull = functools.partial(torch.autograd.grad, result, wanted, gradient, retain_graph=True)
        forward = torch.no_grad()(functools.partial(layer, x))
        times.append([_milliseconds(forward, seconds), _milliseconds(pull, seconds)])
    return times


def _milliseconds(work: Callable[[], Any], seconds: float) -> float:
    for _ in range(3):
        work()
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 5:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


def main(_: list[str]) -> None:
    """Measures and prints."""
    networks.require_torch()
    settings = {
        "image_size": _IMAGE_SIZE.value,
        "batch_size": _BATCH_SIZE.value,
        "cores_used": _CORES.value,
        "seconds": _SECONDS.value,
    }
    ways = {
        "ours": Child(in_jax, {**settings, "plain": False}).result(),
        "xla": Child(in_jax, {**settings, "plain": True}).result(),
        "torch": Child(in_torch, settings).result(),
    }
    print(
        "| convolution | times | forward: ours | XLA | PyTorch | gradients: ours | XLA | PyTorch |"
    )
    print("|---|---|---|---|---|---|---|---|")
    sums = {way: [0.0, 0.0] for way in _WAYS}
    for number, (shape, count) in enumerate(shapes(_IMAGE_SIZE.value).items()):
        height, channels, features, size, stride = shape
        name = f"{channels} → {features}, {size}×{size}, stride {stride}, on {height}×{height}"
        for way in _WAYS:
            for part in (0, 1):
                sums[way][part] += count * ways[way][number][part]
        print(_row(name, count, {way: ways[way][number] for way in _WAYS}))
    print(_row("all of them", sum(shapes(_IMAGE_SIZE.value).values()), sums))
    rounded = {way: [round(each, 1) for each in values] for way, values in sums.items()}
    print(json.dumps({"benchmark": "convolutions", **settings, "sums_ms": rounded, **describe()}))


def _row(name: str, count: int, times: dict[str, list[float]]) -> str:
    cells = [f"{times[way][part]:.1f}" for part in (0, 1) for way in _WAYS]
    return f"| {name} | {count} | {' | '.join(cells)} |"


if __name__ == "__main__":
    app.run(main)
