"""The complete study on a tiny phantom, stopped and resumed; and what it refuses."""

import signal
import subprocess

import pandas as pd
import pytest

from tests.programs import command, forked
from tests.runs.test_signals import wait_for
from tests.tiny import tiny_study


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("reproduce")
    tiny_study(place)
    return place


def words(place, *more):
    return [
        f"--out={place}/study", f"--data_dir={place}", "--image_size=64", "--seeds=2",
        f"--configs={place}/tiny.py", "--set=early_stopping.patience=9999", *more,
    ]  # fmt: skip


@pytest.mark.slow
def test_study_is_stopped_and_resumed(place):
    """A sweep, whose code trains the runs, is stopped in tests/runs/test_signals.py."""
    long = command("reproduce", *words(place, "--epochs=9999", "--stopped_status=143"))
    first = place / "study/runs/tiny/as_configured/seed_0"
    process = subprocess.Popen(long, stdout=subprocess.PIPE, text=True)
    wait_for(first / "history.csv", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 143
    assert "resume with: " in output
    epochs = len(pd.read_csv(first / "history.csv"))
    again = words(place, f"--release={place}/release", f"--epochs={epochs + 1}")
    with forked("data.preparation", "inference.prepared", "reporting.report") as launch:
        done = launch("reproduce", *again)
        planned = launch("reproduce", *again, "--plan")
        longer = words(place, f"--release={place}/release", f"--epochs={epochs + 9}")
        plan_of_more = launch("reproduce", *longer, "--plan")
    assert done.returncode == 0, done.stderr
    assert f"seed_0               epochs done: {epochs}\n" in done.stdout
    assert "Traceback" not in done.stderr
    assert done.stderr.count(": trained and scored\n") == 2
    for seed in (0, 1):
        history = pd.read_csv(first.with_name(f"seed_{seed}") / "history.csv")
        assert [*history["epoch"]] == [*range(1, epochs + 2)]
    table = pd.read_csv(place / "study/reproduction.csv")
    assert {*table.loc[table["finding"] == "Mean", "seeds"]} == {2}
    assert "## AUC" in (place / "study/reproduction.md").read_text()
    assert "tiny, seed" in (place / "study/report.html").read_text()
    assert len([*(place / "study/models/tiny").glob("seed_*/README.md")]) == 1
    assert [line.endswith(" done") for line in planned.stdout.splitlines()[2:4]] == [True, True]
    assert plan_of_more.stdout.count(f"  epochs done: {epochs + 1}\n") == 2


@pytest.fixture(scope="module")
def launch():
    with forked("runs.experiment", "reporting.report") as launch:
        yield launch


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--seeds=a", "error: seeds are a; expected how many, or several with commas: 0,1,2 (--se"),
        ("--seeds=0", "error: seeds are 0; expected how many"),
        ("--seeds=1,1", "error: 2 runs would share the folder tiny/as_configured/seed_1;"),
        ("--set=epoch=3", "error: the config has no setting epoch; did you mean epochs?"),
        ("--set=seed=3", "error: a sweep sets the seed itself"),
        ("--configs=nosuch", "error: --configs=nosuch: no such file"),
        ("--image_size=96", "no such dataset; name the release to prepare (--release)"),
        ("--release=nosuch", "error: nosuch"),
    ],
)
def test_wrong_words_are_answered_by_one_line(launch, place, word, message):
    ended = launch("reproduce", *words(place), word)
    assert ended.returncode == 1, ended.stderr
    assert message in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
