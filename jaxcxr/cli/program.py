"""How every program starts: absl flags in, one line for an error the user can fix."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import logging
import math
import os
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

from jaxcxr.cli.compilation_cache import keep_compiled_networks
from jaxcxr.cli.configs import find_config, require_config
from jaxcxr.cli.own_modules import import_own_modules
from jaxcxr.errors import UserError

_SETTING = re.compile(r"--?[a-z_]+(\.[A-Za-z_][A-Za-z_0-9]*)+")
_MISSING = re.compile(r"flag (--\w+)=None: Flag \1 must have a value other than None\.")
_VALUES = re.compile(r"^flags \w+=.*: ", re.MULTILINE)
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EPIPE)


def run_verb(verb: str) -> None:
    """Runs the program of a verb with the flags of the command line and ends the process.

    A `UserError` becomes `error: …` on standard error and exit status 1, and so does a disk that is
    full or read-only, be it that of standard output, and a pipe without a reader. Any other
    exception is a bug of ours and keeps its traceback.

    Args:
        verb: Name of a module of `jaxcxr.cli`, which defines the flags and `main`. Where it has
            ``POSITIONAL``, `main` receives the words that are not flags; otherwise they are
            refused.
    """
    keep_compiled_networks()
    module = importlib.import_module(f"jaxcxr.cli.{verb}")
    positional = getattr(module, "POSITIONAL", None)
    usage = f"usage: {command(verb)} [--flag=value …] {(positional or '').upper()}".rstrip()
    sys.modules["__main__"].__doc__ = f"{usage}\n\n{module.__doc__}"  # absl prints it for --help
    for flag in flags.FLAGS.get_key_flags_for_module(module.__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # and these for --helpshort
    absl_logging.set_verbosity(absl_logging.ERROR)  # Orbax warns of what is meant
    _print_own_warnings()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow would load Keras, for seconds

    def main(words: Sequence[str]) -> int:
        arguments = [] if positional is None else [list(words[1:])]
        if words[1:] and not arguments:
            raise UserError(
                f"unexpected argument {words[1]!r}: flags are given as --name=value; "
                f"{command(verb)} --help lists them"
            )
        return module.main(*arguments) or 0

    app.run(functools.partial(_guarded, main), flags_parser=functools.partial(_parse, verb))


def _print_own_warnings() -> None:
    """Lets the warnings of this package through, each a line on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    own = logging.getLogger("jaxcxr")
    own.setLevel(logging.WARNING)
    own.addHandler(handler)
    own.propagate = False


def _guarded(main: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    try:
        status = main(words)
        print(end="", flush=True)  # standard output may be closed, and None
        return status
    except UserError as error:
        return _fail(_with_flag(error))
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        _give_up_output()
        what = error.filename or "a file, or what the program prints,"
        return _fail(f"{what} cannot be written: {error.strerror}; fix that and start again")


def command(verb: str) -> str:
    """Returns the words that start another program as this one was started: ``jaxcxr report``."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return shlex.join([sys.orig_argv[0], "-m", "jaxcxr.cli", verb])
    if program.suffix == ".py":
        return shlex.join([sys.orig_argv[0], str(program.with_name(f"{verb}.py"))])
    found = shutil.which(program.name)
    on_path = found is not None and os.path.abspath(found) == os.path.abspath(program)
    return shlex.join([program.name if on_path else str(program), verb])


def command_again(verb: str) -> str:
    """Returns the complete command line of this process, which runs `verb`, for a shell."""
    return shlex.join([*shlex.split(command(verb)), *sys.argv[1:]])


def _check_names(words: Sequence[str]) -> None:
    """Refuses --config.… without the name of a setting; ml_collections would run it as Python."""
    for word in words:
        name = word.partition("=")[0]
        if re.match(r"--?[a-z_]+\.", name) and not _SETTING.fullmatch(name):
            raise flags.Error(f"{name} does not name a setting; expected --config.a.b=value")


def _check_values() -> None:
    """Refuses values that are invalid for every flag: NaN, and "", as of an unset variable."""
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
    """Discards what could not be printed: Python would try again, and fail again, at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_others() -> None:
    """Ends the process at once where it works with others: an orderly end would wait for them."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _joined(words: Iterable[str]) -> list[str]:
    """Writes --config baseline as --config=/path/to/baseline.py, and --import FILE as one word."""
    result, rest = [], iter(words)
    for word in rest:
        if re.fullmatch("--?(config|import)", word):
            word = f"{word}={_with_home(next(rest, ''))}"
        flag, _, value = word.partition("=")
        result.append(f"--config={find_config(value)}" if flag.strip("-") == "config" else word)
    return result


def _with_home(word: str) -> str:
    """Expands ~ in --flag=~/folder, where no shell does."""
    flag, equals, value = word.partition("=")
    if equals and flag.startswith("-"):
        return flag + equals + os.path.expanduser(value)
    return os.path.expanduser(word)


def _parse(verb: str, argv: Sequence[str]) -> list[str]:
    words = _joined(map(_with_home, argv))
    try:
        _check_names(words)
        for word in words:  # ml_collections opens it at the first --config.a.b, by a bare error
            if word.startswith(("--config=", "-config=")):
                require_config("config", word.partition("=")[2])
        if "import" in flags.FLAGS:
            import_own_modules(words)  # before a config, whose network may be of such a head
        arguments = flags.FLAGS(words)
        _check_values()
        return arguments
    except SystemExit as stop:
        problem = _fault_of_file(stop, words)
        if problem is None:  # absl's, after --help; with status 1
            sys.exit(0)
    except Exception as error:
        problem = _fault_of_file(error, words) or fault_of_word(error)
        if problem is None:
            raise
    print(f"error: {problem}\n{command(verb)} --help lists the flags", file=sys.stderr)
    sys.exit(2)


def _fault_of_file(error: BaseException, words: Sequence[str]) -> str | None:
    """Names the line of a file of --config or --import that raised an error."""
    if isinstance(error, SyntaxError):  # no line of such a file was run
        place = f"{error.filename or 'the file of --config'}, line {error.lineno or 1}"
        return f"{place}: not valid Python: {error.msg}"
    values = (word.partition("=")[2].partition(":")[0] for word in words)
    named = set(map(os.path.abspath, values))
    for step in reversed(traceback.extract_tb(error.__traceback__)):
        if os.path.abspath(step.filename) in named:
            return f"{step.filename}, line {step.lineno}: {type(error).__name__}: {error}"
    reason = error.__cause__ or error.__context__  # of absl's error, which has it as a text
    return None if reason is None else _fault_of_file(reason, words)


def fault_of_word(error: Exception) -> str | None:
    """Describes what is wrong with the words of the command line."""
    if isinstance(error, flags.Error) and "Traceback" not in str(error):
        return _MISSING.sub(r"\1 is required", _VALUES.sub("", str(error))).replace("\n", "; ")
    if isinstance(error, OSError | flags.Error):  # ml_collections': a file that cannot be loaded
        return str(error).strip().splitlines()[-1].strip()
    if isinstance(error, ImportError | UserError):  # of --import or --config
        return str(error)
    if isinstance(error, AttributeError | KeyError):  # and how, that a setting is unknown
        words = re.sub(r"\\n|[\\'\"]", " ", str(error)).split()
        if "get_config" in words:
            return "the file of --config does not define get_config(); see configs/baseline.py"
        setting, _, similar = " ".join(words).partition(" Did you mean ")
        question = f"; did you mean {similar.split()[0]}?" if similar else ""
        return f"the config has no setting {setting}{question}"
    return None
