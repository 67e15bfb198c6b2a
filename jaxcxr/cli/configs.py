"""Config files: where those of this package are, and how a command line names one."""

from __future__ import annotations

import os
from pathlib import Path

from jaxcxr.errors import UserError

_FOLDERS = (
    Path(__file__).parents[1] / "configs",  # of an installed wheel
    Path(__file__).parents[2] / "configs",  # of a clone
)


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


def require_config(flag: str, given: str) -> str:
    """Returns the path of a config file, from `find_config`.

    Raises:
        UserError: The file is missing or cannot be read; the message names `flag`.
    """
    path = given.partition(":")[0]
    try:
        open(path, "rb").close()
    except FileNotFoundError:
        raise UserError(
            f"--{flag}={path}: no such file; expected the path of a file, or the name of a "
            f"config: {', '.join(sorted(_shipped()))}"
        ) from None
    except OSError as error:
        raise UserError(f"--{flag}={path} cannot be read: {error.strerror}") from None
    return given


def _shipped() -> dict[str, Path]:
    folder = next(filter(Path.is_dir, _FOLDERS))
    return {path.stem: path for path in folder.glob("*.py") if not path.stem.startswith("_")}
