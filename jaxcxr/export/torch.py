"""PyTorch's weights with a module of plain functions that computes the network from them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from jaxcxr.errors import UserError
from jaxcxr.export.portable import OUTPUTS, PortableModel, Run, imported
from jaxcxr.models.weights.pretrained import ARRAYS, to_torch
from jaxcxr.models.weights.torch_files import write_torch_file

_INSTALL = "pip install 'jaxcxr[torch]'"
_NETWORK = Path(__file__).with_name("network_in_pytorch.py")
_HEADS = ("Baseline", "SpaceAttention", "AttentionGated", "PCAM", "LogSumExp", "Pylon")


def write(model: PortableModel, folder: Path) -> None:
    """Writes a state dict and ``network.py``."""
    imported(_INSTALL, "torch")
    head, backbone = (type(part).__name__ for part in (model.network.head, model.network.backbone))
    if head not in _HEADS or not backbone.startswith(("ResNet", "DenseNet")):
        raise UserError(
            f"{backbone} with {head} has no definition in PyTorch here; use another format",
            argument="format",
        )
    write_torch_file(folder / ARRAYS, to_torch(model.variables, backbone))
    (folder / "network.py").write_bytes(_NETWORK.read_bytes())


def load(folder: Path) -> tuple[str, Run]:
    """Imports ``network.py``."""
    (torch,) = imported(_INSTALL, "torch")
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec
    assert spec.loader
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = network.predict(torch.from_numpy(images))
        return {name: value.numpy() for name, value in zip(OUTPUTS, outputs, strict=True)}

    return f"PyTorch {torch.__version__}", run
