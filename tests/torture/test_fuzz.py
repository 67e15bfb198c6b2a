"""A part of the fuzz campaign of `make torture`, and the judge itself."""

import os
import signal

import numpy as np
import pytest

from jaxcxr.errors import UserError
from tests.torture import fuzz
from tests.torture.fuzz import Input
from tests.torture.fuzzing.trial import LIMIT_MEMORY, Trial, judge


def raises(error):
    def read():
        raise error

    return read


@pytest.mark.parametrize(
    ("trial", "result", "why"),
    [
        (Trial("", lambda: 1, lambda found: None), "accepted", ""),
        (Trial("", raises(UserError("a.png: damaged")), names="a.png"), "refused", "a.png"),
        (Trial("", lambda: 1, lambda found: "off by 3"), "failed", "off by 3"),
        (Trial("", lambda: 1), "failed", "accepted what cannot be used"),
        (Trial("", raises(UserError("no")), must_accept=True), "failed", "refused what is right"),
        (Trial("", raises(UserError("damaged")), names="a.png"), "failed", "does not name a.png"),
        (Trial("", raises(UserError("x" * 10_001))), "failed", "10,001 characters"),
        (Trial("", raises(KeyError("x"))), "failed", "traceback"),
        (Trial("", raises(MemoryError())), "failed", "traceback"),
        (Trial("", raises(SystemExit(3))), "failed", "traceback"),
    ],
)
def test_verdicts(trial, result, why, monkeypatch):
    monkeypatch.setattr("tests.torture.fuzzing.trial.peak_memory", lambda: 0)  # of all tests so far
    verdict = judge(trial)
    assert verdict.result == result
    assert why in verdict.why


def test_memory_counts():
    many = LIMIT_MEMORY // 8 + 1
    verdict = judge(Trial("", lambda: np.ones(many), lambda found: None))
    assert verdict.result == "failed"
    assert verdict.memory > LIMIT_MEMORY


def test_same_seed_gives_the_same_inputs(tmp_path):
    assert fuzz.draw(200, 2, seed=1) == fuzz.draw(200, 2, seed=1)
    assert fuzz.draw(200, 2, seed=1) != fuzz.draw(200, 2, seed=2)
    made = []
    for place in ("a", "b"):
        folder = tmp_path / place
        folder.mkdir()
        Input("images", 7, seed=1).make(folder)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]


class Hangs(Input):
    def make(self, folder):
        def read():
            while True:
                pass

        return Trial("hangs", read, limit_seconds=0.2)


class Dies(Input):
    def make(self, folder):
        return Trial("dies", lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_processes_that_hang_or_die_are_replaced():
    inputs = [kind("tables", index, 0) for index, kind in enumerate((Hangs, Input, Dies))]
    verdicts = [verdict for _, verdict in fuzz.run(inputs, workers=1)]
    assert verdicts[0].why == "hangs: out of its processor time"
    assert verdicts[1].result in ("accepted", "refused")
    assert verdicts[2].why == "the process died with status -9"


def test_a_part_of_the_campaign():
    result = fuzz.results_of(fuzz.run(fuzz.draw(500, 1, seed=1), workers=1))
    assert result["failures"] == []
    assert result["inputs"] == 500
    assert set(result["subjects"]) == {*fuzz.SUBJECTS, "programs"}
