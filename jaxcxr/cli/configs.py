"""Config files: where those of this package are, and how a command line names one."""

from __future__ import annotations

import os
from pathlib import Path

_FOLDERS = (
    Path(__file__).parents[1] / "configs",  # of an installed wheel
    Path(__file__).parents[2] / "configs",  # of a clone
)


def config_names() -> list[str]:
    """Returns the names of the configs that come with this package, sorted."""
    return sorted(_shipped())


def find_config(given: str) -> str:
    """Returns the path of a config file that a command line gives by name or by path.

    Args:
        given: ``baseline``, ``configs/baseline.py`` or the path of any file; behind a colon an
            argument of its ``get_config``. A file of this path comes before a config of this name.

    Returns:
        The path with the argument, or `given` where there is neither a file nor a config.
    """
    path, colon, argument = given.partition(":")
    if os.path.isfile(path):
        return given
    name = path.removeprefix("configs/").removesuffix(".py")
    shipped = _shipped().get(name)
    return given if shipped is None else f"{shipped}{colon}{argument}"


def _shipped() -> dict[str, Path]:
    folder = next(filter(Path.is_dir, _FOLDERS))
    return {path.stem: path for path in folder.glob("*.py") if not path.stem.startswith("_")}
