"""What is wrong with a release, told all at once."""

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
    """

    what: str
    where: Sequence[str]

    def __str__(self) -> str:
        shown = ", ".join(self.where[:_SHOWN])
        more = len(self.where) - _SHOWN
        return f"{self.what} ({len(self.where):,}): {shown}" + (
            f" … and {more:,} more" if more > 0 else ""
        )


def raise_problems(place: Path, problems: Iterable[Problem]) -> None:
    """Raises a UserError with one line per problem that occurs anywhere; else does nothing."""
    found = [problem for problem in problems if problem.where]
    if found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        lines = [f"{place}: {count} in this release; mend or download again what is named"]
        raise UserError("\n  ".join([*lines, *map(str, found)]))
