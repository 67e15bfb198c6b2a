"""Where the programs keep compiled networks, so that the next one starts without compiling."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import warnings
from pathlib import Path

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"

_MAX_BYTES = 1024**3
"""Of all compiled networks; jax_compilation_cache_max_size would lock the folder for each of them,
and writes no more once a process was killed before it wrote the time of an entry."""

_MIN_FREE_BYTES = 256 * 1024**2
"""On the disk; JAX would leave a part of an entry on a full one, and warn of it ever after."""


def keep_compiled_networks() -> None:
    """Makes JAX keep compiled networks in the user's cache folder.

    A folder that the user chose (JAX_COMPILATION_CACHE_DIR; empty: none) is left as it is. Where
    the user's cannot be written or its disk is full, networks are compiled as without it.
    """
    if _VARIABLE in os.environ:
        return
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the user has no home
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        compiled = cache / "jaxcxr" / "compiled"
        folder = compiled / _processor()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_oldest(compiled)
        disk = os.statvfs(folder)
        if os.access(folder, os.W_OK) and disk.f_bavail * disk.f_frsize >= _MIN_FREE_BYTES:
            os.environ[_VARIABLE] = str(folder)
            _drop_warnings()
            os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def _drop_warnings() -> None:
    """Drops JAX's warnings of entries that a killed program left in part, here and in children."""
    texts = [f"Error {verb} persistent compilation cache" for verb in ("reading", "writing")]
    for text in texts:
        warnings.filterwarnings("ignore", text)
    ignored = [f"ignore:{text}" for text in texts]
    given = os.environ.get("PYTHONWARNINGS", "").split(",")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [*given, *ignored]))


def _processor() -> str:
    """Returns a name for processors of equal instructions: machines may share a home."""
    text = " ".join(os.uname()[4:])
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        first = itertools.takewhile(str.strip, lines)
        text += "".join(line for line in first if line.startswith(("model name", "flags", "Feat")))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remove_oldest(folder: Path) -> None:
    entries = [(entry.stat(), entry) for entry in folder.glob("*/*")]
    size = 0
    for status, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime):
        size += status.st_size
        if size > _MAX_BYTES:
            entry.unlink(missing_ok=True)
