"""DICOM files for the tests of this folder."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes (H, W) integers as a DICOM file and returns its path."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.encaps import encapsulate

    def write(
        stored: np.ndarray,
        bits: int,
        photometric: str = "MONOCHROME2",
        *,
        name: str = "a.dcm",
        syntax: str = "ExplicitVRLittleEndian",
        frame: bytes | None = None,
        **elements: Any,
    ) -> Path:
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
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


def encoded(pixels: np.ndarray, format: str, **options: Any) -> bytes:  # noqa: A002
    """Returns an image file's bytes."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()
