"""The one exception for mistakes that the person at the keyboard can mend."""

from __future__ import annotations


class UserError(Exception):
    """A wrong path, value or file, told so that the reader can put it right.

    The message is one line (or one line per problem): what was read, the value received, what was
    expected and what to do. Launch programs print it without a traceback and exit with status 1.
    Control characters, which names and contents of files may hold, are written out as Python does:
    none reaches a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(map(_visible, message)))


def _visible(character: str) -> str:
    return character if character.isprintable() or character == "\n" else repr(character)[1:-1]
