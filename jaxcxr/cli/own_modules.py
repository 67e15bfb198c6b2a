"""`--import`: a user's own heads and backbones in the programs.

A run stores the name of its head or backbone and not where its code is, so that opening a folder
that somebody else made never runs code that the folder names. The command line names the code.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from jaxcxr.errors import UserError

flags.disclaim_key_flags()


def define_import_flag() -> None:
    """Defines --import; `jaxcxr.cli.program` imports the modules before it reads configs."""
    flags.DEFINE_multi_string(
        "import",
        [],
        "A Python file, or an installed module, that registers a head or backbone of your own: "
        "my_heads.py; may be repeated.",
    )


def import_own_modules(words: Sequence[str]) -> None:
    """Imports the modules that words of the form --import=MODULE name.

    Raises:
        UserError: The file is missing.
    """
    for word in words:
        flag, _, name = word.partition("=")
        if flag not in ("--import", "-import"):
            continue
        if not name.endswith(".py"):
            importlib.import_module(name)
            continue
        spec = importlib.util.spec_from_file_location(Path(name).stem, name)
        if spec is None or spec.loader is None or not Path(name).is_file():
            raise UserError(f"--import={name}: no such file; expected a Python file or a module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses, which Flax modules are, find theirs there
        spec.loader.exec_module(module)
