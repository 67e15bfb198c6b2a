"""Networks at work, here and in PyTorch: one training step, one batch of inference."""

from __future__ import annotations

import dataclasses
import importlib.util
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
    """Returns the config of one of `NETWORKS`."""
    backbone, head = NETWORKS[name]
    return {"backbone": {"name": backbone}, "head": head}


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
    name: str, image_size: int, compute_dtype: str, devices: int | None = None
) -> Training:
    """Returns the training of one of `NETWORKS` on all devices, or on the first few."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    from jaxcxr.models import build_classifier
    from jaxcxr.training.devices import device_mesh
    from jaxcxr.training.optimizers import Adam
    from jaxcxr.training.state import create_state, initial_variables

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

    ready = training(name, image_size, compute_dtype, devices)
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
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.models import build_classifier
    from jaxcxr.training.state import initial_variables

    model = build_classifier(network(name))
    predictor = Predictor(model, initial_variables(model, image_size, 0), image_size)
    images = batch(image_size, batch_size)["image"]

    def work() -> None:
        for _ in range(steps):
            predictor(images)

    return work


def _torch_network(name: str) -> tuple[Any, Any, bool]:
    import torch

    from tests.torch import networks

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    built = networks.build(network(name)).to(device, memory_format=torch.channels_last)
    return built, device, on_gpu


def _normalized(images: Any, device: Any) -> Any:
    import torch

    pixels = torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)
    mean = torch.tensor([0.485, 0.456, 0.406], device=device)[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225], device=device)[:, None, None]
    gray = (pixels.float() / 255).expand(-1, 3, -1, -1)
    return ((gray - mean) / std).contiguous(memory_format=torch.channels_last)


def train_in_torch(
    name: str, image_size: int, batch_size: int, steps: int, compute_dtype: str = "float32"
) -> Work:
    """Returns the same in PyTorch, on a GPU with `torch.compile`; bfloat16 is its autocast."""
    import torch
    from torch.nn.functional import logsigmoid

    model, device, on_gpu = _torch_network(name)
    model.train()
    forward = torch.compile(model) if on_gpu else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=on_gpu or None)
    rows = batch(image_size, batch_size)
    labels = torch.from_numpy(rows["labels"]).to(device).float()

    def work() -> None:
        for _ in range(steps):
            images = _normalized(rows["image"], device)
            with torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype == "bfloat16"):
                logits = forward(images)[0]
            logits = logits.float()
            positives = labels.sum()
            positive = -(labels * logsigmoid(logits)).sum() * labels.numel() / positives
            negative = -((1 - labels) * logsigmoid(-logits)).sum()
            loss = (positive + negative * labels.numel() / (labels.numel() - positives)) / len(
                images
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()

    return work


def infer_in_torch(name: str, image_size: int, batch_size: int, steps: int) -> Work:
    """Returns the same in PyTorch, in inference mode."""
    import torch

    model, device, on_gpu = _torch_network(name)
    model.eval()
    forward = torch.compile(model) if on_gpu else model
    images = batch(image_size, batch_size)["image"]

    def work() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
            for _ in range(steps):
                logits, heatmaps = forward(_normalized(images, device))
                torch.sigmoid(logits).float().cpu(), heatmaps.float().cpu()

    return work
