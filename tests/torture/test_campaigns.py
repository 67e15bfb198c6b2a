"""Short parts of the campaigns that take long, and the judge of the fuzz tests."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from jaxcxr.errors import UserError
from tests.programs import REPOSITORY
from tests.torture import limits
from tests.torture.limits import read_or_refuse


def run_campaign(name, *words):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.torture.{name}", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_killed_phantom_is_made_again_as_if_undisturbed():
    assert run_campaign("kill", "--kills=2", "--programs", "make_phantom")["kills"] == 2


@pytest.mark.slow
def test_killed_training_resumes_with_the_same_bits():
    """In `make test`: tests/runs/test_resume.py stops at every step in one process."""
    assert run_campaign("kill", "--kills=4", "--seed=3", "--programs", "train")["kills"] == 4


@pytest.mark.slow
def test_long_training_grows_by_nothing():
    """As short as this, the campaign finds files or threads lost in every epoch."""
    run_campaign("long_run", "--steps=160", "--placements", "streamed")


def raises(error):
    def read():
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "error", "message"),
    [
        (raises(UserError("damaged")), AssertionError, "does not name a.png: damaged"),
        (raises(UserError("a.png" + "x" * 10_000)), AssertionError, "10,005 characters"),
        (raises(KeyError("x")), KeyError, "x"),
        (raises(SystemExit(3)), SystemExit, "3"),
        (lambda: sum(range(3 * 10**8)), AssertionError, "processor time"),
        (lambda: np.ones(10**8), AssertionError, "memory"),
    ],
)
def test_what_fails_a_fuzz_test(read, error, message, monkeypatch):
    monkeypatch.setattr(limits, "MEGABYTES", 700)
    with pytest.raises(error, match=message):
        read_or_refuse(read, names="a.png", seconds=1)
    assert read_or_refuse(raises(UserError("a.png: damaged")), names="a.png") is None


def test_input_that_hangs_ends_the_process_with_a_traceback():
    code = (
        "from tests.torture import limits\n"
        "limits.HANGS = 1\n"
        "limits.read_or_refuse(lambda: __import__('time').sleep(60), names='')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Timeout (0:00:01)!" in done.stderr
