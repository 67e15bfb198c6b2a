"""Trained models for use elsewhere."""

FORMATS = ("onnx", "savedmodel", "tflite", "stablehlo", "torch")
"""Names of the modules of this package that write a format and run it."""
