"""What is wrong with a release, collected to be reported all at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxcxr.errors import UserError

_SHOWN = 10
"""Places that are named of each kind of mistake, in 500 characters at most."""


class Problems:
    """The mistakes found in a release so far, one line per kind."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._argument: str | None = None

    def add(
        self, what: str, where: Sequence[str], remedy: str = "", argument: str | None = None
    ) -> None:
        """Adds a kind of mistake if it occurs anywhere.

        Args:
            what: The mistake and the file that it is in.
            where: Every place: image names, with the value received where that helps.
            remedy: What else helps to correct it.
            argument: The argument of `read_release` that may correct it.
        """
        if not where:
            return
        shown = ", ".join(place[:500] for place in where[:_SHOWN])
        more = f" … and {len(where) - _SHOWN:,} more" if len(where) > _SHOWN else ""
        remedy = f"; {remedy}" if remedy else ""
        self._lines.append(f"{what} ({len(where):,}): {shown}{more}{remedy}")
        self._argument = self._argument or argument

    def raise_any(self, place: Path) -> None:
        """Raises a UserError with one line per kind of mistake, if there are any."""
        if self._lines:
            count = f"{len(self._lines)} problem" + "s" * (len(self._lines) > 1)
            first = f"{place}: {count} in this release; correct what is named"
            raise UserError("\n  ".join([first, *self._lines]), argument=self._argument)
