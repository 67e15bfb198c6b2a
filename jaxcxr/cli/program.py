"""How every launch program starts: absl flags in, one clear line for a user's mistake."""

from __future__ import annotations

import contextlib
import errno
import importlib
import math
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from jaxcxr.cli import interrupts
from jaxcxr.errors import UserError

_SETTING = re.compile(r"--?[a-z_]+(\.[A-Za-z_][A-Za-z_0-9]*)+")
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EPIPE)


def run_verb(verb: str) -> None:
    """Runs the program of a verb with the flags of the command line and ends the process.

    Args:
        verb: Name of a module of `jaxcxr.cli`, which defines the flags and `main`, and
            ``POSITIONAL`` where the program takes words that are not flags.
    """
    module = importlib.import_module(f"jaxcxr.cli.{verb}")
    sys.modules["__main__"].__doc__ = module.__doc__  # absl prints it for --help
    for flag in flags.FLAGS.get_key_flags_for_module(module.__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # and these for --helpshort
    run(module.main, positional=getattr(module, "POSITIONAL", None))


def run(main: Callable[..., int | None], *, positional: str | None = None) -> None:
    """Parses the absl flags, runs `main` and ends the process with the status it returns.

    A `UserError` becomes `error: …` on standard error and exit status 1, and so does a disk that is
    full or read-only, be it that of standard output, and a pipe without a reader. Ctrl-C becomes
    exit status 130. Any other exception is a bug of ours and keeps its traceback. See
    `jaxcxr.cli.interrupts` for why a program imports this module before any other.

    Args:
        main: Called without arguments; None counts as status 0.
        positional: What the words that are no flags mean to this program ("files"); `main` then
            receives them as its one argument. Without it such words are refused.
    """

    def guarded(arguments: Sequence[str]) -> int:
        words = list(arguments[1:])
        try:
            with interrupts.raised():
                if words and positional is None:
                    raise UserError(
                        f"unexpected argument {words[0]!r}: options are given as --name=value; "
                        "--helpshort lists them"
                    )
                status = (main() if positional is None else main(words)) or 0
                print(end="", flush=True)  # standard output may be closed, and None
                return status
        except UserError as error:
            return _fail(_with_flag(error))
        except OSError as error:
            if error.errno not in _OUTPUT_ERRORS:
                raise
            _give_up_output()
            what = error.filename or "a file, or what the program prints,"
            return _fail(f"{what} cannot be written: {error.strerror}; mend that, start again")
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=sys.stderr)
            return 128 + signal.SIGINT

    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow would load Keras, for seconds
    app.run(guarded, flags_parser=_parse)


def _check_names(words: Sequence[str]) -> None:
    """Refuses --config.… that names no setting; ml_collections would evaluate it as Python."""
    for word in words:
        name = word.partition("=")[0]
        if re.match(r"--?[a-z_]+\.", name) and not _SETTING.fullmatch(name):
            raise flags.Error(f"{name} names no setting; expected --config.a.b=value")


def _check_values() -> None:
    """Refuses what no flag means: an empty path, as of a shell's unset variable, and NaN."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.value in ("", []) and flag.value != flag.default:
            raise flags.Error(f"--{name} is empty")
        if isinstance(flag.value, float) and not math.isfinite(flag.value):
            raise flags.Error(f"--{name}={flag.value}: expected a finite number")


def _with_flag(error: UserError) -> str:
    """Returns the message of an error and the flag of its argument, if this program has one."""
    if error.argument is None or error.argument not in flags.FLAGS:
        return str(error)
    return f"{error} (--{error.argument})"


def _fail(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)
    _leave_others()
    return 1


def _give_up_output() -> None:
    """Lets what could not be printed go: Python would try again at its end, and complain anew."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_others() -> None:
    """Ends the process at once where it works with others: an orderly end would wait for them."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _with_home(word: str) -> str:
    """Writes ~ out in --flag=~/folder, where no shell does."""
    flag, equals, value = word.partition("=")
    if equals and flag.startswith("-"):
        return flag + equals + os.path.expanduser(value)
    return os.path.expanduser(word)


def experiment_config(flag: flags.FlagHolder[Any]) -> Any:
    """Returns the `ml_collections.ConfigDict` of a config-file flag.

    Raises:
        UserError: There is no such file, or it cannot be read.
    """
    named = config_flags.get_config_filename(flags.FLAGS[flag.name])
    path = named.partition(":")[0]  # what follows is an argument of get_config
    try:
        open(path, "rb").close()
    except FileNotFoundError:
        raise UserError(
            f"--{flag.name}={path}: no such file; configs/ holds the experiments"
        ) from None
    except OSError as error:
        raise UserError(f"--{flag.name}={path} cannot be read: {error.strerror}") from None
    return flag.value


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        _check_names(argv)
        words = flags.FLAGS([_with_home(word) for word in argv])
        _check_values()
        return words
    except SystemExit as stop:
        problem = _fault_of_config_file(stop, argv[1:])
        if problem is None:  # absl's, after --help; with status 1
            sys.exit(0)
    except Exception as error:
        problem = _fault_of_config_file(error, argv[1:]) or _fault_of_word(error)
        if problem is None:
            raise
    print(f"error: {problem}\n{argv[0]} --helpshort lists the options", file=sys.stderr)
    sys.exit(2)


def _fault_of_config_file(error: BaseException, words: Sequence[str]) -> str | None:
    """Names the line of a config file, which is Python, that raised an error."""
    if isinstance(error, SyntaxError):  # such a file was never begun
        place = f"{error.filename or 'the file of --config'}, line {error.lineno or 1}"
        return f"{place}: no valid Python: {error.msg}"
    values = (_with_home(word).rpartition("=")[2] for word in words)
    named = {os.path.abspath(value.partition(":")[0]) for value in values}
    for step in reversed(traceback.extract_tb(error.__traceback__)):
        if os.path.abspath(step.filename) in named:
            return f"{step.filename}, line {step.lineno}: {type(error).__name__}: {error}"
    reason = error.__cause__ or error.__context__  # of absl's error, which has it as a text
    return None if reason is None else _fault_of_config_file(reason, words)


def _fault_of_word(error: Exception) -> str | None:
    """Says what is wrong with the words of the command line."""
    if isinstance(error, flags.Error) and "Traceback" not in str(error):
        return str(error)
    if isinstance(error, OSError | flags.Error):  # ml_collections': a file that cannot be loaded
        return str(error).strip().splitlines()[-1].strip()
    if isinstance(error, AttributeError | KeyError):  # and how, that a setting is unknown
        words = re.sub(r"\\n|[\\'\"]", " ", str(error)).split()
        if "get_config" in words:
            return "the file of --config defines no get_config(); see configs/"
        return f"the config has no setting {' '.join(words)}"
    return None
