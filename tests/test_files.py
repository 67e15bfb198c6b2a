"""Files appear complete or not at all."""

import subprocess
import sys

import pytest

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write, make_folder, refuse_overwriting_inputs, write_text


def test_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "b.txt"
    write_text(path, "old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyError("broken off")

    with pytest.raises(KeyError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from jaxcxr.files import atomic_write
place = Path(sys.argv[1])
with atomic_write(place / "release") as folder, atomic_write(place / "b.txt") as file:
    folder.mkdir()
    (folder / "a.png").write_text("half")
    file.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_stale_files_of_a_killed_process_are_removed_by_the_next_one(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert len(left := list(tmp_path.iterdir())) == 2
    assert all(".partial" in path.name for path in left)
    with atomic_write(tmp_path / "release") as folder:
        folder.mkdir()
    write_text(tmp_path / "b.txt", "new")
    assert {path.name for path in tmp_path.rglob("*")} == {"release", "b.txt"}


@pytest.mark.parametrize("name", ["file", "file/b.txt", "file/a/b.txt"])
@pytest.mark.parametrize("make", [make_folder, lambda path: write_text(path / "c.txt", "text")])
def test_file_in_place_of_a_folder_is_named(tmp_path, name, make):
    (tmp_path / "file").write_text("")
    message = rf"{name}.* cannot be written: \S+/file is not a directory; choose another place"
    with pytest.raises(UserError, match=message):
        make(tmp_path / name)
    assert (tmp_path / "file").read_text() == ""


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"link is not a directory"):
        make_folder(tmp_path / "link" / "a")


def test_input_files_are_not_overwritten(tmp_path):
    path, link = tmp_path / "a.csv", tmp_path / "link"
    path.write_text("")
    link.symlink_to(path)
    refuse_overwriting_inputs([tmp_path / "b.csv"], [path, link])
    for out in (path, link, tmp_path / "b" / ".." / "a.csv"):
        with pytest.raises(UserError, match="would overwrite an input file"):
            refuse_overwriting_inputs([tmp_path / "b.csv", out], [path])
