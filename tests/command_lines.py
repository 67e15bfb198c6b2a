"""Many command lines of one program, for the price of importing it once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]

_FORKING = """
import importlib, json, os, sys, tempfile
verb, command_lines = json.load(sys.stdin)
sys.argv = [f"launch/{verb}.py"]
program = importlib.import_module("jaxcxr.cli.program")
importlib.import_module(f"jaxcxr.cli.{verb}")
ended = []
for words in command_lines:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv[1:] = words
            program.run_verb(verb)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [file.seek(0) or file.read().decode() for file in (out, err)]
        ended.append((status, *texts))
json.dump(ended, sys.stdout)
"""


class Ended(NamedTuple):
    """What a program left: exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run_each(
    verb: str, command_lines: Sequence[Sequence[str]], cwd: Path = REPOSITORY
) -> list[Ended]:
    """Runs a program with each of the command lines, in a process of its own each.

    For command lines that end before JAX starts its threads: the processes are forks of one that
    has imported the program.
    """
    done = subprocess.run(
        [sys.executable, "-c", _FORKING],
        input=json.dumps([verb, command_lines]),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Ended(*ended) for ended in json.loads(done.stdout)]
