"""Networks at work, here and in PyTorch: one training step, one batch of inference."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import Work

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("ResNet34", {"name": "Baseline"}),
    "space_attention": ("ResNet34", {"name": "SpaceAttention"}),
    "attention_gated": ("ResNet34", {"name": "AttentionGated"}),
    "pcam": ("ResNet34", {"name": "PCAM"}),
    "log_sum_exp": ("ResNet34", {"name": "LogSumExp", "stride": 8, "learned": "shared"}),
    "pylon": ("ResNet50", {"name": "Pylon"}),
    "densenet121": ("DenseNet121", {"name": "Baseline"}),
}
"""Backbone and head of each; those of `configs/`, and DenseNet-121."""


def require_torch() -> None:
    """Ends the program where PyTorch, the peer, is missing."""
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("error: PyTorch is missing: pip install 'jaxcxr[torch]'")


def batch(image_size: int, batch_size: int) -> dict[str, np.ndarray]:
    """Draws a batch of noise with 14 labels an image, a tenth of them positive."""
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (batch_size, image_size, image_size, 1), np.uint8),
        "labels": (rng.random((batch_size, 14)) < 0.1).astype(np.uint8),
        "mask": np.ones(batch_size, bool),
    }


def network(name: str) -> dict[str, Any]:
    """Returns the config of one of `NETWORKS`; `tiny_NAME` has few and narrow layers."""
    backbone, head = NETWORKS[name.removeprefix("tiny_")]
    tiny = {"width": 8, "blocks": (1, 1, 1, 1)} if name.startswith("tiny_") else {}
    return {"backbone": {"name": backbone, **tiny}, "head": head}


@dataclasses.dataclass(frozen=True)
class Training:
    """What `fit` makes of a network, weighted cross-entropy and Adam, before its first step."""

    model: Any
    mesh: Any
    adam: Any
    state: Any
    compute_dtype: Any

    def step(self) -> Any:
        """Returns the step of one device; see `jaxcxr.training.steps`."""
        from jaxcxr.training.objective import Objective
        from jaxcxr.training.steps import TrainStep

        return TrainStep(Objective(self.model, compute_dtype=self.compute_dtype), self.adam)


def training(
    name: str, image_size: int, batch_size: int, compute_dtype: str, devices: int | None = None
) -> Training:
    """Returns the training of one of `NETWORKS`, on as many devices as the programs use."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    from jaxcxr.cli.cpu_devices import use_device_per_core
    from jaxcxr.models import build_classifier
    from jaxcxr.training.devices import device_mesh
    from jaxcxr.training.optimizers import Adam
    from jaxcxr.training.state import create_state, initial_variables

    if devices is None:
        use_device_per_core(batch_size)
    model, mesh = build_classifier(network(name)), device_mesh(jax.devices()[:devices])
    adam = Adam().transformation(1, 1)
    state = create_state(initial_variables(model, image_size, 0), adam)
    everywhere = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    return Training(model, mesh, adam, everywhere, compute_dtype)


def train_here(
    name: str,
    image_size: int,
    batch_size: int,
    steps: int,
    compute_dtype: str = "float32",
    devices: int | None = None,
) -> Work:
    """Returns `steps` training steps: WCEL, Adam, as `fit` makes them."""
    import jax

    from jaxcxr.training.devices import shard_batch
    from jaxcxr.training.steps import make_train_step

    ready = training(name, image_size, batch_size, compute_dtype, devices)
    step, state = make_train_step(ready.step(), ready.mesh), ready.state
    rows = shard_batch(batch(image_size, batch_size), ready.mesh)

    def work() -> None:
        nonlocal state
        for _ in range(steps):
            state, loss = step(state, rows)
        jax.block_until_ready(loss)

    return work


def infer_here(name: str, image_size: int, batch_size: int, steps: int) -> Work:
    """Returns `steps` batches through `Predictor`, probabilities and heat maps."""
    from jaxcxr.cli.cpu_devices import use_device_per_core
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.models import build_classifier
    from jaxcxr.training.state import initial_variables

    use_device_per_core()
    model = build_classifier(network(name))
    predictor = Predictor(model, initial_variables(model, image_size, 0), image_size)
    images = batch(image_size, batch_size)["image"]

    def work() -> None:
        for _ in range(steps):
            predictor(images)

    return work


def infer_on_device(
    name: str, image_size: int, batch_size: int, steps: int, compute_dtype: str
) -> Work:
    """Returns `steps` batches of images that lie on the device through a network."""
    import jax

    from jaxcxr.models import build_classifier
    from jaxcxr.training.state import initial_variables

    model = build_classifier(network(name))

    @jax.jit
    def predict(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        prediction = model.apply(variables, model.normalize(images).astype(compute_dtype))
        return jax.nn.sigmoid(prediction.logits), prediction.heatmaps.astype("float32")

    variables = initial_variables(model, image_size, 0)
    images = jax.device_put(batch(image_size, batch_size)["image"])

    def work() -> None:
        for _ in range(steps):
            jax.device_get(predict(variables, images))

    return work


def _torch_network(name: str) -> tuple[Any, Any]:
    import torch

    on_gpu = torch.cuda.is_available()
    if on_gpu:  # what PyTorch's own guide to performance advises; JAX uses TF32 without asking
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if on_gpu else "cpu")
    built = _torch_networks().build(network(name)).to(device, memory_format=torch.channels_last)
    return built, device


def _torch_networks() -> Any:
    """Imports tests/torch/networks.py by its path: other packages are named `tests`, too."""
    path = Path(__file__).parents[1] / "tests" / "torch" / "networks.py"
    spec = importlib.util.spec_from_file_location("torch_networks", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # torch.compile imports it by its name
    spec.loader.exec_module(module)
    return module


def _compiled(function: Any, mode: str | None, device: Any) -> Any:
    """Compiles for a GPU by one of torch.compile's modes; on a CPU only traces, where asked to."""
    import torch

    if device.type == "cuda":
        return torch.compile(function, mode=mode or "default")
    return torch.compile(function, backend="aot_eager") if mode else function


def _normalizer(device: Any) -> Callable[[Any], Any]:
    """Returns what turns gray values (B, H, W, 1) into the network's input."""
    import torch

    # Made on the device beforehand: constants from the host keep CUDA graphs from being recorded.
    mean = torch.tensor([0.485, 0.456, 0.406], device=device)[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225], device=device)[:, None, None]

    def normalized(pixels: Any) -> Any:
        gray = (pixels.permute(0, 3, 1, 2).float() / 255).expand(-1, 3, -1, -1)
        return ((gray - mean) / std).contiguous(memory_format=torch.channels_last)

    return normalized


def train_in_torch(
    name: str,
    image_size: int,
    batch_size: int,
    steps: int,
    compute_dtype: str = "float32",
    mode: str | None = None,
) -> Work:
    """Returns the same in PyTorch; bfloat16 is its autocast.

    Args:
        name: One of `NETWORKS`.
        image_size: Pixels.
        batch_size: Images per step.
        steps: How many the work does.
        compute_dtype: "float32" or "bfloat16".
        mode: Of `torch.compile`, on a GPU; by default "default" there, and no compilation on a CPU.
    """
    import torch
    from torch.nn.functional import logsigmoid

    model, device = _torch_network(name)
    normalized = _normalizer(device)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=device.type == "cuda" or None)
    rows = batch(image_size, batch_size)
    images = torch.from_numpy(rows["image"]).to(device)
    labels = torch.from_numpy(rows["labels"]).to(device).float()

    def loss_of(images: Any, labels: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype == "bfloat16"):
            logits = model(normalized(images))[0]
        logits, positives = logits.float(), labels.sum()
        positive = -(labels * logsigmoid(logits)).sum() * labels.numel() / positives
        negative = -((1 - labels) * logsigmoid(-logits)).sum()
        balance = labels.numel() / (labels.numel() - positives)
        return (positive + negative * balance) / len(images)

    loss_of = _compiled(loss_of, mode, device)

    def work() -> None:
        for _ in range(steps):
            torch.compiler.cudagraph_mark_step_begin()
            loss = loss_of(images, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss.item()

    return work


def infer_in_torch(
    name: str,
    image_size: int,
    batch_size: int,
    steps: int,
    compute_dtype: str = "float32",
    mode: str | None = None,
) -> Work:
    """Returns the same in PyTorch, in inference mode; the arguments are `train_in_torch`'s."""
    import torch

    model, device = _torch_network(name)
    normalized = _normalizer(device)
    model.eval()
    images = torch.from_numpy(batch(image_size, batch_size)["image"]).to(device)

    def predict(images: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype == "bfloat16"):
            logits, heatmaps = model(normalized(images))
        return torch.sigmoid(logits.float()), heatmaps.float()

    predict = _compiled(predict, mode, device)

    def work() -> None:
        with torch.inference_mode():
            for _ in range(steps):
                torch.compiler.cudagraph_mark_step_begin()
                for output in predict(images):
                    output.cpu()

    return work
