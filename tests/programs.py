"""Programs as tests start them: one at a time, or many for the price of importing packages once."""

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
modules, commands = json.load(sys.stdin)
program, *_ = [importlib.import_module(f"jaxcxr.{name}") for name in ("cli.program", *modules)]
ended = []
for verb, *words in commands:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = [f"launch/{verb}.py", *words]
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


def command(verb: str, *words: object) -> list[str]:
    """Returns the command line of a program, as a user of a clone writes it."""
    return [sys.executable, str(REPOSITORY / f"launch/{verb}.py"), *map(str, words)]


def launch(verb: str, *words: object, cwd: Path = REPOSITORY) -> Ended:
    """Runs a program to its end."""
    done = subprocess.run(command(verb, *words), cwd=cwd, capture_output=True, text=True)
    return Ended(done.returncode, done.stdout, done.stderr)


def launch_each(
    commands: Sequence[Sequence[object]], modules: Sequence[str] = (), cwd: Path = REPOSITORY
) -> list[Ended]:
    """Runs programs one after the other, each in a fork of a process that has imported packages.

    Args:
        commands: Verb and words of each program.
        modules: Modules of jaxcxr to import before; they start no threads.
        cwd: Where the programs run.
    """
    done = subprocess.run(
        [sys.executable, "-c", _FORKING],
        input=json.dumps([modules, [list(map(str, words)) for words in commands]]),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Ended(*ended) for ended in json.loads(done.stdout)]
