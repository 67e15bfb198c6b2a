"""Two runs never share a folder; a dead one does not keep it."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

import jaxcxr as cxr
from jaxcxr.runs.lock import acquire
from tests.tiny import make_split

HOLD = """
import sys, time
from jaxcxr.runs.lock import acquire
lock = acquire(sys.argv[1])
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_and_the_first_named(tiny_model, tmp_path, holder):
    with pytest.raises(cxr.UserError, match=rf"in use by another run: process {holder.pid} on"):
        acquire(tmp_path)
    with pytest.raises(cxr.UserError, match=rf"in use by another run: process {holder.pid} on"):
        cxr.fit(
            tiny_model,
            make_split(8),
            epochs=1,
            batch_size=8,
            verbose=False,
            callbacks=[cxr.BackupAndRestore(tmp_path)],
        )
    assert sorted(os.listdir(tmp_path)) == [".lock", "lock.json"]


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / "lock.json").read_text())["pid"] == holder.pid
    lock = acquire(tmp_path)
    assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()
    lock.release()
    assert os.listdir(tmp_path) == [".lock"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1'])
def test_a_lock_that_was_half_written_is_taken_over(tmp_path, content):
    (tmp_path / "lock.json").write_text(content)
    acquire(tmp_path).release()


def test_the_lock_of_another_machine_is_left_to_the_user(tmp_path):
    """Whether that process lives cannot be seen from here."""
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({"host": f"not-{socket.gethostname()}", "pid": 1, "since": "noon"}))
    with pytest.raises(cxr.UserError, match=rf"run of another machine.*noon.* delete {path}"):
        acquire(tmp_path)


def test_a_folder_that_is_gone_is_noticed(tmp_path):
    lock = acquire(tmp_path / "run")
    lock.check()
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(cxr.UserError, match=r"lock\.json is gone"):
        lock.check()
    lock.release()
