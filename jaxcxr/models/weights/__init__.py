"""Weights: PyTorch files, ImageNet, and parameter names."""
