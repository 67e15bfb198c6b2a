import pytest

from jaxcxr.errors import UserError


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("ä.png: no such file\nb.png: damaged", "ä.png: no such file\nb.png: damaged"),
        ("\x1b[2J\0\t\x9b", r"\x1b[2J\x00\t\x9b"),
        ("a\udcff.png", r"a\udcff.png"),  # a file name that is no UTF-8
        ("\u202egnp.exe", r"\u202egnp.exe"),
    ],
)
def test_control_characters_are_written_out(message, told):
    assert str(UserError(message)) == told
