"""The folder that `jaxcxr predict` writes: tables grow batch by batch, and a later call continues.

about.json has the settings and the size of each table after the last complete batch. What an
interrupted call wrote behind that is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.files import remove_file, write_text

TABLES = ("predictions.csv", "findings.csv", "boxes.csv", "files.csv")
_ABOUT = "about.json"
_SKIPPED = "skipped.csv"
_ANOTHER = "name another --out"
_NAMES = ("run", "source")
"""What the model is called, which may change."""


class ResultFolder:
    """The results of one model with one set of settings.

    Args:
        out: The folder.
        settings: What decides the results, and what the model is called.

    Raises:
        UserError: The folder has results of another model, of other settings or of another program.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out = out
        self._settings = json.loads(json.dumps(settings))
        self._written = self._continued()
        self.earlier: dict[str, str] = {}
        """The name in the tables of each file that an earlier call predicted."""
        if self._written:
            known = pd.read_csv(out / "files.csv", dtype=str, keep_default_na=False)
            self.earlier = dict(zip(known["file"], known[tables.IMAGE], strict=True))
        self._write_about()
        tables.write(pd.DataFrame(columns=["file", "reason"]), out / _SKIPPED)

    def _continued(self) -> dict[str, int]:
        try:
            earlier = json.loads((self.out / _ABOUT).read_text("utf-8"))
            written: dict[str, int] = earlier.pop("written")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            for path in filter(Path.exists, map(self.out.joinpath, (*TABLES, _SKIPPED))):
                raise UserError(f"{path} was not written by jaxcxr predict; {_ANOTHER}") from error
            return {}
        for name, now in self._settings.items():
            if written and name not in _NAMES and (before := earlier.get(name)) != now:
                raise UserError(
                    f"{self.out} has predictions of another model or other settings: {name} was "
                    f"{before!s:.60}, and is {now!s:.60} now; {_ANOTHER}"
                )
        for path in map(self.out.joinpath, TABLES):
            size = written.get(path.name, 0)
            if not size:
                remove_file(path)
            elif not path.exists() or path.stat().st_size < size:
                raise UserError(f"{path} is not as jaxcxr predict wrote it; {_ANOTHER}")
            else:
                os.truncate(path, size)
        return written

    def remaining(self, names: Sequence[str], paths: Iterable[Path]) -> list[tuple[str, Path]]:
        """Returns names and paths of the files that were not predicted yet.

        Raises:
            UserError: A file has the name of another one that was predicted.
        """
        taken = set(self.earlier.values())
        todo = [
            one for one in zip(names, paths, strict=True) if real_path(one[1]) not in self.earlier
        ]
        for name, path in todo:
            if name in taken:
                raise UserError(
                    f"{path}: {self.out} has predictions of another file named {name}; {_ANOTHER}"
                )
        return todo

    def append(self, batch: Mapping[str, pd.DataFrame]) -> None:
        """Appends to each of `TABLES`; the column file of "files.csv" is made by `real_path`."""
        for name in TABLES:
            self._written[name] = tables.append(batch[name], self.out / name)
        self._write_about()

    def skip(self, file: str, reason: str) -> None:
        """Appends to skipped.csv, which has the files of this call."""
        tables.append(pd.DataFrame({"file": [file], "reason": [reason]}), self.out / _SKIPPED)

    def _write_about(self) -> None:
        content = {**self._settings, "written": self._written}
        write_text(self.out / _ABOUT, json.dumps(content, indent=2) + "\n")


def real_path(path: Path) -> str:
    """Returns an absolute path without links; bytes that are not text are written as escapes."""
    return os.path.realpath(path).encode(errors="backslashreplace").decode()
