"""The text of a `UserError`, as a caller and as a program shows it."""

import pytest
from absl import flags

from jaxcxr.cli import program
from jaxcxr.errors import UserError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("ä.png: no such file\nb.png: damaged", "ä.png: no such file\nb.png: damaged"),
        ("\x1b[2J\0\t\x9b", r"\x1b[2J\x00\t\x9b"),
        ("a\udcff.png", r"a\udcff.png"),  # a file name that is not UTF-8
        ("\u202egnp.exe", r"\u202egnp.exe"),
    ],
)
def test_control_characters_are_escaped(message, shown):
    error = UserError(message)
    assert isinstance(error, ValueError)
    assert str(error) == shown


def test_program_adds_the_flag_of_the_argument(monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_integer("image_size", 256, "", flag_values=values)
    monkeypatch.setattr(program.flags, "FLAGS", values)
    error = UserError("image_size is 5; expected at least 16", argument="image_size")
    assert program._with_flag(error) == "image_size is 5; expected at least 16 (--image_size)"
    assert program._with_flag(UserError("no", argument="jobs")) == "no"
    assert program._with_flag(UserError("no")) == "no"
