"""Files appear whole or not at all."""

import pytest

from jaxcxr.errors import UserError
from jaxcxr.files import make_folder, write_text, written_aside


def test_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_earlier_file_and_no_remains(tmp_path):
    path = tmp_path / "b.txt"
    write_text(path, "old")

    def write_half() -> None:
        with written_aside(path) as aside:
            aside.write_text("half")
            raise KeyError("broken off")

    with pytest.raises(KeyError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/b\.txt cannot be written"):
        write_text(tmp_path / "file" / "b.txt", "text")


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/a/b\.txt cannot be written"):
        write_text(tmp_path / "file" / "a" / "b.txt", "text")
    with pytest.raises(UserError, match=r"file/a cannot be written: .*; name another place"):
        make_folder(tmp_path / "file" / "a")
