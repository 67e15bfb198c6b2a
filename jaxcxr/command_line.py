"""How every launch program starts: absl flags in, one clear line for a user's mistake."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

from absl import app, flags

from jaxcxr.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Parses the absl flags, runs `main()` and ends the process.

    A `UserError` becomes `error: …` on standard error and exit status 1, Ctrl-C exit status 130;
    words that are no flags are refused. Any other exception is a bug of ours and keeps its
    traceback.
    """

    def guarded(arguments: Sequence[str]) -> int:
        try:
            if len(arguments) > 1:
                raise UserError(
                    f"unexpected argument {arguments[1]!r}: options are given as --name=value; "
                    "--helpshort lists them"
                )
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=sys.stderr)
            return 128 + signal.SIGINT
        return 0

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        print(f"error: {error}\n{argv[0]} --helpshort lists the options", file=sys.stderr)
        sys.exit(2)
