"""Trained models for use elsewhere."""

from __future__ import annotations

from jaxcxr.export.exporting import FORMATS, Parity, export

__all__ = ["FORMATS", "Parity", "export"]
