"""What is wrong with a release, reported all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxcxr.errors import UserError

_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Problem:
    """One kind of mistake and where it occurs.

    Attributes:
        what: The mistake and the file that it is in.
        where: Every place: image names, with the value received where that helps.
        remedy: What else helps to correct it.
        argument: The argument of `read_release` that may correct it.
    """

    what: str
    where: Sequence[str]
    remedy: str = ""
    argument: str | None = None

    def __str__(self) -> str:
        shown = ", ".join(self.where[:_SHOWN])
        more = len(self.where) - _SHOWN
        return (
            f"{self.what} ({len(self.where):,}): {shown}"
            + (f" … and {more:,} more" if more > 0 else "")
            + (f"; {self.remedy}" if self.remedy else "")
        )


def raise_problems(place: Path, problems: Iterable[Problem]) -> None:
    """Raises a UserError with one line per problem that occurs anywhere; else does nothing."""
    found = [problem for problem in problems if problem.where]
    if found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        lines = [f"{place}: {count} in this release; correct what is named", *map(str, found)]
        argument = next((problem.argument for problem in found if problem.argument), None)
        raise UserError("\n  ".join(lines), argument=argument)
