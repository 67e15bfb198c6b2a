"""Programs as tests start them: as users do, or many for the price of importing packages once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]

_FORKING = """
import importlib, importlib.machinery, json, os, sys, tempfile
modules, absent = json.loads(sys.argv[1])
class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Without
program, *_ = [importlib.import_module(f"jaxcxr.{name}") for name in ("cli.program", *modules)]
for line in sys.stdin:
    cwd, verb, *words = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.chdir(cwd)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = [f"launch/{verb}.py", *words]
            program.run_verb(verb)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [file.seek(0) or file.read().decode() for file in (out, err)]
    print(json.dumps([status, *texts]), flush=True)
"""


class Ended(NamedTuple):
    """What a program left: exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Launch = Callable[..., Ended]
"""Runs a program: ``launch(verb, *words, cwd=REPOSITORY)``."""


def command(verb: str, *words: object) -> list[str]:
    """Returns the command line of a program, as a user of a clone writes it."""
    return [sys.executable, str(REPOSITORY / f"launch/{verb}.py"), *map(str, words)]


def launch(verb: str, *words: object, cwd: Path = REPOSITORY) -> Ended:
    """Runs a program to its end."""
    done = subprocess.run(command(verb, *words), cwd=cwd, capture_output=True, text=True)
    return Ended(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def forked(*modules: str, absent: Sequence[str] = ()) -> Iterator[Launch]:
    """Yields a `launch` whose programs are forks of one process that has imported packages.

    Args:
        modules: Modules of jaxcxr that it imports; none may start JAX or TensorFlow.
        absent: Packages whose import fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _FORKING, json.dumps([modules, absent])],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def launch(verb: str, *words: object, cwd: Path = REPOSITORY) -> Ended:
        print(json.dumps([str(cwd), verb, *map(str, words)]), file=process.stdin, flush=True)
        return Ended(*json.loads(process.stdout.readline()))

    with process:
        yield launch
        process.stdin.close()
