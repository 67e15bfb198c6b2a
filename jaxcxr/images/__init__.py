"""Image files as gray arrays, and radiographs as the squares that networks take."""

from jaxcxr.images.radiograph import Radiograph, read_radiograph

__all__ = ["Radiograph", "read_radiograph"]
