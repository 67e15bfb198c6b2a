"""Files appear complete or not at all."""

import re
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
from jaxcxr.files import temporary_path, atomic_write
folder = temporary_path(Path(sys.argv[1], "release"))
folder.mkdir()
(folder / "a.png").write_text("half")
with atomic_write(Path(sys.argv[1], "b.txt")) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_stale_files_of_a_killed_process_are_removed_by_the_next_one(tmp_path):
    path = tmp_path / "b.txt"
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    left = sorted(tmp_path.iterdir())
    assert len(left) == 2
    assert path not in left
    theirs = tmp_path / ".b.another-host.1.partial.txt"  # whether it still writes is not known here
    ours = left[0].with_name(re.sub(r"\d+(?=\.partial)", "1", left[0].name))  # a living process
    for kept in (theirs, ours):
        kept.write_text("half")
    write_text(path, "new")
    assert sorted(tmp_path.iterdir()) == sorted([path, theirs, ours])


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
