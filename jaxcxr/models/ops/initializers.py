"""How parameters are drawn when a network is trained from scratch."""

from __future__ import annotations

from flax import linen as nn

he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""Kernels of ResNet's convolutions (He et al. 2015; torchvision's choice)."""

he_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
"""Kernels of DenseNet's convolutions (torchvision's choice)."""

uniform_fan_in = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Kernels of heads: uniform within ±1/√fan_in, PyTorch's default. Their biases start at zero."""
