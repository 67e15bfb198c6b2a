"""Two processes on one machine give what one gives: training, validation, evaluation."""

import contextlib
import os
import signal
import socket
import subprocess
import time

import numpy as np
import pandas as pd
import pytest

from jaxcxr.training import distributed
from tests.programs import command
from tests.tiny import TINY_CONFIG, tiny_study

TWO_EPOCHS = [
    f"--config.{setting}"
    for setting in ("epochs=2", "augmentation.horizontal_flip=True", "checkpoint_every=3")
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a prepared phantom, a config and a run of one process, evaluated."""
    place = tmp_path_factory.mktemp("distributed")
    tiny_study(place, images=120)
    for program in programs(place, "one"):
        subprocess.run(program, check=True, capture_output=True)
    return place


def programs(place, name, *settings):
    """Returns how a run is trained and evaluated."""
    there = f"--data_dir={place}", f"--workdir={place / name}"
    return (
        command("train", f"--config={place / 'tiny.py'}", *there, *TWO_EPOCHS, *settings),
        command("evaluate_auc", *there, "--bootstraps=2", "--batch_size=8"),
    )


def start_both(program):
    """Starts two processes that work together."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    together = f"--coordinator=localhost:{port}", "--processes=2"
    environment = os.environ | {"XLA_FLAGS": ""}
    return [
        subprocess.Popen(
            [*program, *together, f"--process={process}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for process in range(2)
    ]


def finish(processes):
    """Waits for both; returns what each printed."""
    printed = both_printed(processes)
    for process, (_, errors) in zip(processes, printed, strict=True):
        assert process.returncode == 0, errors
    return ["".join(_own_lines(output)) for output, _ in printed]


def both_printed(processes):
    """Returns what each printed on its two ways out; leaves none at work."""
    try:
        return [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()


def _own_lines(output):
    return [line for line in output.splitlines(keepends=True) if not line.startswith("[Gloo]")]


@pytest.mark.parametrize("placement", ["streamed", pytest.param("device", marks=pytest.mark.slow)])
def test_two_processes_train_as_one(place, placement):
    """In `make test` test_placement.py compares the placements in one process."""
    train, _ = programs(place, placement, f"--config.data_placement={placement}")
    first, second = finish(start_both(train))
    assert "best epoch" in first
    assert second == ""
    one, two = (pd.read_csv(place / name / "history.csv") for name in ("one", placement))
    for column in ("epoch", "loss", "val_loss", "skipped_steps"):
        np.testing.assert_allclose(two[column], one[column], rtol=1e-5)


def test_two_processes_evaluate_as_one(place):
    """The checkpoint is that of two processes, which trained."""
    train, evaluate = programs(place, "streamed")
    if not (place / "streamed").exists():
        finish(start_both(train))
    first, second = finish(start_both(evaluate))
    assert "written to" in first
    assert second == ""
    for table in ("labels.csv", "validation_labels.csv"):
        one, two = (place / name / "evaluation" / table for name in ("one", "streamed"))
        assert one.read_text() == two.read_text()
    for table in ("predictions.csv", "validation_predictions.csv"):
        one, two = (
            pd.read_csv(place / name / "evaluation" / table, index_col=0)
            for name in ("one", "streamed")
        )
        assert list(one.index) == list(two.index)
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_sigterm_to_one_of_two_stops_both_at_the_same_step_and_one_resumes(place):
    train, _ = programs(place, "stopped", "--config.epochs=100000")
    processes = start_both(train)
    history = place / "stopped/history.csv"
    for _ in range(6000):
        if history.exists():
            break
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    first, _ = finish(processes)
    assert "stopped by SIGTERM" in first
    epochs = len(pd.read_csv(history))
    train, _ = programs(place, "stopped", f"--config.epochs={epochs + 1}")
    done = subprocess.run(train, capture_output=True, text=True, check=True)
    assert f"{epochs} of {epochs + 1} epochs" in done.stdout
    assert list(pd.read_csv(history)["epoch"]) == list(range(1, epochs + 2))


def test_a_mistake_ends_both(place):
    """The folder holds a run of other settings: the first process says so, the second follows."""
    train, _ = programs(place, "one", "--config.seed=7")
    processes = start_both(train)
    printed = both_printed(processes)
    assert "seed is 0 there and 7 here" in printed[0][1]
    assert [process.returncode != 0 for process in processes] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator=localhost:1"], "--coordinator, --processes and --process go together"),
        (
            ["--coordinator=localhost:1", "--processes=2", "--process=2"],
            "--process is 2; of 2 processes it is one of 0 to 1",
        ),
        (["--distributed"], "give each --coordinator=HOST:PORT"),
    ],
)
def test_mistaken_flags_are_named(tmp_path, arguments, message):
    (tmp_path / "tiny.py").write_text(TINY_CONFIG)
    train, _ = programs(tmp_path, "run", *arguments)
    done = subprocess.run(train, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_one_process_are_put_in_order():
    table = pd.DataFrame({"name": ["b", "a", "c"]})
    assert list(distributed.gather_rows(table, np.array([1, 0, 2]))["name"]) == ["a", "b", "c"]
