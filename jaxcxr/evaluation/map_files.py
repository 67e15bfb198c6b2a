"""Files of heat maps: what `jaxcxr predict` writes, and plain arrays and pictures of any system."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import enlarge
from jaxcxr.evaluation.fields import match_images
from jaxcxr.evaluation.masks import HeatMap
from jaxcxr.files import reason_of
from jaxcxr.findings import match_finding
from jaxcxr.images.grid import Grid
from jaxcxr.images.square import Square

_SUFFIXES = (".npz", ".npy", ".png")


def find_maps(
    folder: str | Path, images: Iterable[str], findings: Iterable[str], *, others: bool = False
) -> dict[tuple[str, str], HeatMap]:
    """Finds the heat maps of images in a folder and the folders below it.

    - `IMAGE.npz` of `jaxcxr predict`, or with an array (h, w) under the name of each finding.
    - `IMAGE_FINDING.npy` or `.png` (gray, 8 or 16 bits), also `IMAGE_FINDING_map.npy`.

    A plain map covers its image, whatever its size. Nothing is unpickled.

    Args:
        folder: The folder.
        images: Names of images; those in `folder` may have another suffix or none.
        findings: Names of findings.
        others: Whether maps of other images are taken, too, under the names of their files.

    Returns:
        Heat maps by the given image and finding, read when they are called.

    Raises:
        UserError: The folder does not exist, or holds no map of these images and findings.
    """
    images, findings = list(images), list(findings)
    files = [path for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in _SUFFIXES]
    maps: dict[tuple[str, str], HeatMap] = {}
    for path in files:
        if path.suffix.lower() == ".npz":
            image = _image(path.stem, images) or (path.stem if others else "")
            maps |= {(image, name): heat for name, heat in _of_archive(path, findings) if image}
        elif found := _image_and_finding(path.stem, images, findings, others):
            maps[found] = partial(_enlarged, path, partial(_plain, path))
    if not maps:
        raise UserError(
            f"{folder}: no heat map of these images and findings among {len(files)} files; "
            "expected IMAGE.npz, IMAGE_FINDING.npy or IMAGE_FINDING.png"
        )
    return maps


def _image(name: str, images: list[str]) -> str:
    return str(match_images(pd.Series([name]), images)[0])


def _image_and_finding(
    name: str, images: list[str], findings: list[str], others: bool
) -> tuple[str, str] | None:
    """Returns what IMAGE_FINDING or IMAGE_FINDING_map means; both may contain underscores."""
    parts = name.removesuffix("_map").split("_")
    other = None
    for cut in range(1, len(parts)):
        start = "_".join(parts[:cut])
        if finding := _finding("_".join(parts[cut:]), findings):
            if image := _image(start, images):
                return image, finding
            other = other or (start, finding)
    return other if others else None


def _finding(name: str, findings: list[str]) -> str | None:
    try:
        return match_finding(name, findings)
    except KeyError:
        return None


def _of_archive(path: Path, findings: list[str]) -> Iterable[tuple[str, HeatMap]]:
    """Yields finding and heat map of each map in a .npz file that is of one of `findings`."""
    with _opened(path) as arrays:
        names = arrays["findings"].tolist() if "heatmaps" in arrays else arrays.files
        is_ours = "heatmaps" in arrays
    for place, name in enumerate(names):
        if finding := _finding(str(name), findings):
            if is_ours:
                yield finding, partial(_predicted, path, place)
            else:
                yield finding, partial(_enlarged, path, partial(_member, path, name))


def _opened(path: Path) -> np.lib.npyio.NpzFile:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _member(path: Path, name: str) -> np.ndarray:
    with _opened(path) as arrays:
        return arrays[name]


def _predicted(path: Path, place: int, size: tuple[int, int]) -> np.ndarray:
    """Returns a heat map that `jaxcxr predict` wrote, in pixels of its image at another size."""
    with _opened(path) as arrays:
        values: Mapping[str, np.ndarray] = {name: arrays[name] for name in arrays.files}
    height, width = size
    grid = Grid(float(values["first_center"]), float(values["stride"]))
    square = Square.fit(width, height, int(values["image_size"]), str(values["square"]))  # pyright: ignore[reportArgumentType]
    return enlarge(values["heatmaps"][..., place], width, height, square.in_original(grid, grid))


def _plain(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        with Image.open(path) as picture:
            return np.asarray(picture)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _enlarged(path: Path, read: Callable[[], np.ndarray], size: tuple[int, int]) -> np.ndarray:
    values = np.squeeze(read())
    if values.ndim != 2 or not np.isfinite(values).all():
        raise UserError(
            f"{path}: a heat map of the shape {values.shape} or with values that are not finite; "
            "expected one finite number per cell (h, w)"
        )
    return enlarge(values, size[1], size[0])


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as a heat map ({reason_of(error):.100}); remove it")
