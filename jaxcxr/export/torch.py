"""PyTorch's weights with a module of plain functions that computes the network from them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from jaxcxr import models
from jaxcxr.errors import UserError
from jaxcxr.export.portable import OUTPUTS, PortableModel, Run, imported
from jaxcxr.models.weights.pretrained import ARRAYS, to_torch
from jaxcxr.models.weights.torch_files import write_torch_file

_INSTALL = "pip install 'jaxcxr[torch]'"
_NETWORK = Path(__file__).with_name("network_in_pytorch.py")
_BACKBONES = (models.ResNet18, models.ResNet34, models.ResNet50, models.DenseNet121)
_HEADS = (
    *(models.Baseline, models.SpaceAttention, models.AttentionGated),
    *(models.PCAM, models.LogSumExp, models.Pylon),
)


def write(model: PortableModel, folder: Path) -> None:
    """Writes a state dict and ``network.py``."""
    imported(_INSTALL, "torch")
    backbone, head = type(model.network.backbone), type(model.network.head)
    if backbone not in _BACKBONES or head not in _HEADS:
        raise UserError(
            f"{backbone.__name__} with {head.__name__} is not defined in PyTorch; use another "
            "format",
            argument="format",
        )
    write_torch_file(folder / ARRAYS, to_torch(model.variables, backbone.__name__))
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
