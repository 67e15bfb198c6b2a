"""The exception for errors the user can fix."""

from __future__ import annotations


class UserError(ValueError):
    """An invalid path, value or file, described so that the reader can correct it.

    The message is one line (or one line per problem): what is wrong, with the file and the value
    received; what was expected; what to do. It speaks of arguments and settings, never of the
    flags of a program. Programs print it without a traceback, name the flag of `argument`, and
    exit with status 1. Control characters, which names and contents of files may contain, are
    escaped as `repr` does: none reaches a terminal.

    Args:
        message: The message.
        argument: Name of the argument of this package's function that is wrong, or would help. A
            program that has a flag of this name adds it to the message.
    """

    def __init__(self, message: str, *, argument: str | None = None) -> None:
        super().__init__("".join(map(_visible, message)))
        self.argument = argument


def _visible(character: str) -> str:
    return character if character.isprintable() or character == "\n" else repr(character)[1:-1]
