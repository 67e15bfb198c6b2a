"""Weights in a folder: `config.json` describes the network, `model.safetensors` holds its arrays.

The arrays have PyTorch's layout and names: torchvision's for the backbone, ``head.…`` for the head.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.registry import build_classifier
from jaxcxr.models.weights.pretrained import ARRAYS, Variables, load_classifier, to_torch
from jaxcxr.models.weights.torch_files import safetensors_bytes

STUDY_IMAGE_SIZE = 256


def is_weight_folder(folder: str | Path) -> bool:
    """Returns whether a folder holds weights in this format; a run's folder does not."""
    return (Path(folder) / ARRAYS).is_file()


def weight_folder_image_size(folder: str | Path) -> int:
    """Returns the height and width in pixels of the radiographs for a folder of weights.

    Such a folder does not give it: it is the study's, which a log message says.
    """
    logging.getLogger(__name__).warning(
        "%s does not give an image size; the study's %d pixels are used", folder, STUDY_IMAGE_SIZE
    )
    return STUDY_IMAGE_SIZE


def save_weight_folder(folder: str | Path, config: Mapping[str, Any], variables: Variables) -> None:
    """Writes a folder of weights; it appears under its name when it is complete.

    Args:
        folder: A folder that does not exist yet.
        config: ``{"backbone": …, "head": …}`` as `classifier_config` returns it, or the backbone
            alone.
        variables: ``{"params": …, "batch_stats": …}`` of those parts.

    Raises:
        UserError: The folder exists or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        raise UserError(f"{folder} exists already; name a new folder or remove it")
    with atomic_write(folder) as partial:
        partial.mkdir()
        arrays = to_torch(variables, config["backbone"]["name"])
        (partial / ARRAYS).write_bytes(safetensors_bytes(arrays))
        (partial / "config.json").write_text(json.dumps({"model": config}, indent=2) + "\n")


def read_model_config(folder: str | Path) -> dict[str, Any]:
    """Returns the config of the network in a folder of weights: ``{"backbone": …, "head": …}``.

    Raises:
        UserError: Its config.json is missing or damaged.
    """
    path = Path(folder) / "config.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} does not describe a network ({type(error).__name__}: {error}); convert the "
            "weights again"
        ) from error


def load_weight_folder(folder: str | Path) -> tuple[Classifier, Variables]:
    """Returns the classifier in a folder of weights and its variables (NumPy arrays).

    Raises:
        UserError: The folder is damaged or holds a backbone alone.
    """
    config = read_model_config(folder)
    if "head" not in config:
        raise UserError(
            f"{folder} holds a backbone alone, without a head; train with it as initial weights"
        )
    model = build_classifier(config)
    return model, load_classifier(Path(folder) / ARRAYS, model)
