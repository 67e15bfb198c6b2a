"""SIGTERM and SIGINT, as a scheduler and a person send them to launch/train.py."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from jaxcxr.runs.signals import SignalWatch
from tests.programs import command
from tests.tiny import tiny_study

SETTINGS = ("epochs=2000", "early_stopping.patience=2000")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a prepared phantom and a config."""
    place = tmp_path_factory.mktemp("signals")
    tiny_study(place)
    return place


def start(place, workdir, *arguments):
    long = (f"--config.{setting}" for setting in SETTINGS)
    places = (f"--config={place / 'tiny.py'}", f"--data_dir={place}", f"--workdir={workdir}")
    return launch("train", *places, *long, *arguments)


def launch(program, *arguments):
    return subprocess.Popen(
        command(program, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """Returns what it printed, on its two ways out; leaves nothing at work."""
    try:
        return process.communicate(timeout=300)
    finally:
        process.kill()


def wait_for(path, process):
    for _ in range(6000):
        if path.exists():
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.kill()
    raise TimeoutError(path)


@pytest.mark.parametrize(
    ("number", "arguments", "status"),
    [
        (signal.SIGINT, (), 0),
        (signal.SIGTERM, ("--stopped_status=143",), 143),
    ],
)
def test_a_signal_saves_and_prints_how_to_resume(place, tmp_path, number, arguments, status):
    process = start(place, tmp_path / "run", *arguments)
    wait_for(tmp_path / "run/history.csv", process)
    process.send_signal(number)
    output, errors = finish(process)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    last = output.splitlines()[-1]
    assert f"stopped by {number.name}" in last
    assert not (tmp_path / "run/lock.json").exists()
    if status:
        return
    epochs = len(pd.read_csv(tmp_path / "run/history.csv"))
    resume = shlex.split(last.partition("resume with: ")[2])
    assert resume[0] == sys.executable  # as the program was started
    done = subprocess.run(
        [*resume, f"--config.epochs={epochs + 1}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{epochs} of {epochs + 1} epochs" in done.stdout
    history = pd.read_csv(tmp_path / "run/history.csv")
    assert list(history["epoch"]) == list(range(1, epochs + 2))


def test_a_signal_stops_a_sweep_and_scores_nothing_half_trained(place, tmp_path):
    sweep = tmp_path / "sweep"
    words = [f"--configs={place / 'tiny.py'}", f"--data_dir={place}", f"--out={sweep}"]
    words += [f"--set={setting}" for setting in SETTINGS]
    process = launch("sweep", *words, "--seeds=3", "--stopped_status=143")
    run = sweep / "tiny/as_configured/seed_0"
    wait_for(run / "history.csv", process)
    process.send_signal(signal.SIGINT)
    output, errors = finish(process)
    assert process.returncode == 143, errors
    assert output.splitlines()[-1].startswith("stopped by SIGINT; what was done is saved; resume")
    assert "stopped by SIGTERM after" in (run / "log.txt").read_text().splitlines()[-1]
    assert not (run / "lock.json").exists()
    assert not (run / "evaluation").exists()
    assert [path.name for path in run.parent.iterdir()] == ["seed_0"]


def test_a_second_signal_ends_at_once():
    """In a process of its own: the first is remembered, the second kills."""
    code = (
        "import os, signal\n"
        "from jaxcxr.runs.signals import SignalWatch\n"
        "watch = SignalWatch()\n"
        "watch.start()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print(watch.received, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('still here', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "SIGINT\n"
    assert done.returncode == -signal.SIGINT


def test_handlers_are_given_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    watch = SignalWatch()
    watch.start()
    os.kill(os.getpid(), signal.SIGTERM)
    assert watch.received == "SIGTERM"
    watch.stop()
    assert {number: signal.getsignal(number) for number in before} == before
