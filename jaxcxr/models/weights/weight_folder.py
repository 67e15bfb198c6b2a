"""Weights in a folder: `config.json` names the network, `weights/` holds its arrays (Orbax)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxcxr.errors import UserError
from jaxcxr.files import reason_of, require_no_brackets, require_space, temporary_path

_SPACE_BESIDE_ARRAYS = 1024**2
"""Bytes on the disk that a folder takes beside its arrays', at most: half-filled blocks."""


def save_weight_folder(
    folder: str | Path, config: Mapping[str, Any], variables: Mapping[str, Any]
) -> None:
    """Writes a folder of weights in one piece.

    Args:
        folder: A folder that does not exist yet.
        config: ``{"backbone": …, "head": …}`` as `classifier_config` returns it, or the backbone
            alone.
        variables: ``{"params": …, "batch_stats": …}`` of those parts.

    Raises:
        UserError: The folder exists or cannot be written, or there is a bracket in its path.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        raise UserError(f"{folder} exists already; name a new folder or remove it")
    require_no_brackets(folder)
    aside = temporary_path(folder)
    try:
        aside.mkdir(parents=True)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(dict(variables)))
        require_space(aside, size + _SPACE_BESIDE_ARRAYS)
        (aside / "config.json").write_text(json.dumps({"model": config}, indent=2) + "\n")
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(aside / "weights", dict(variables))
        os.rename(aside, folder)
    except (OSError, ValueError) as error:  # TensorStore tells a full disk as a ValueError
        raise UserError(
            f"{folder} cannot be written: {reason_of(error)}; free space or name another place"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load_weight_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the config and the variables (NumPy arrays) of a folder of weights.

    Raises:
        UserError: The folder was not written by `save_weight_folder`, or is damaged.
    """
    folder = Path(folder).absolute()
    try:
        config = json.loads((folder / "config.json").read_text())["model"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder} is no folder of weights: its config.json cannot be read ({error}); "
            "launch/convert_weights.py writes such folders"
        ) from error
    with ocp.StandardCheckpointer() as checkpointer:
        variables = checkpointer.restore(folder / "weights", _as_numpy(checkpointer, folder))
    return config, variables


def _as_numpy(checkpointer: ocp.StandardCheckpointer, folder: Path) -> Any:
    """The shapes of the arrays, without the devices that they were saved from."""
    saved = checkpointer.metadata(folder / "weights").item_metadata
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), saved)
