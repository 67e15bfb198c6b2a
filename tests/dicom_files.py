"""DICOM files for the tests."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes what `dicom_bytes` returns to a file and returns its path."""
    pytest.importorskip("pydicom")

    def write(*arguments: Any, name: str = "a.dcm", **elements: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom_bytes(*arguments, **elements))
        return path

    return write


def dicom_bytes(
    stored: np.ndarray,
    bits: int,
    photometric: str = "MONOCHROME2",
    *,
    syntax: str = "ExplicitVRLittleEndian",
    frame: bytes | None = None,
    padding: tuple[int, str] | None = None,
    **elements: Any,
) -> bytes:
    """Returns (H, W) integers as a DICOM file.

    Args:
        stored: The values.
        bits: Bits Stored.
        photometric: Photometric Interpretation.
        syntax: Name of the transfer syntax in `pydicom.uid`.
        frame: The compressed values; only RLE is compressed here.
        padding: Pixel Padding Value and its VR.
        **elements: Other elements by keyword.
    """
    import pydicom
    from pydicom.encaps import encapsulate

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.set_pixel_data(stored, photometric, bits, generate_instance_uid=False)
    if syntax == "RLELossless":
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    elif frame is not None:
        dataset.PixelData = encapsulate([frame])
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    if padding is not None:
        dataset.add_new("PixelPaddingValue", padding[1], padding[0])
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def deep_dicom(keyword: str, stored: np.ndarray, **elements: Any) -> bytes:
    """Returns (H, W) floats or 32-bit integers as a DICOM file, in the element `keyword`."""
    import pydicom

    bits = 8 * stored.itemsize
    dataset = pydicom.dcmread(BytesIO(dicom_bytes(np.zeros(stored.shape, np.uint16), 16)))
    del dataset.PixelData
    dataset.BitsAllocated = bits
    if keyword == "PixelData":
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.add_new("PixelData", "OW", stored.tobytes())
    else:
        del dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        setattr(dataset, keyword, stored.tobytes())
    for name, value in elements.items():
        setattr(dataset, name, f"{value:.10g}" if name.startswith("Window") else value)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def encoded(pixels: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002
    """Returns the image file that Pillow writes of an array or image."""
    buffer = BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format, **options)
    return buffer.getvalue()
