"""A short part of the campaigns that take long."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).parent


@pytest.mark.parametrize(
    "words",
    [
        ["kill_programs.py", "--kills=3", "--programs", "make_phantom"],
        ["long_run.py", "--steps=160", "--placements", "streamed"],
    ],
    ids=lambda words: words[0].removesuffix(".py"),
)
def test_short_campaign_finds_no_failure(words):
    program, *arguments = words
    command = [sys.executable, str(TORTURE / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)
