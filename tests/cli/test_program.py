"""What programs answer to a wrong command line, and to Ctrl-C."""

import signal
import subprocess
import sys

import pytest

from jaxcxr.cli import program
from tests.programs import REPOSITORY, Ended, forked

PLACES = ["--data_dir=no/data", "--workdir=no/run"]

WRONG_WORDS = {
    "--config.nonsense=1": (2, "the config has no setting nonsense"),
    "--config.optimizer.learning_rat=1": (2, "did you mean learning_rate?"),
    "--config.epoch=3": (2, "the config has no setting epoch; did you mean epochs?"),
    "--config.batch_size=many": (2, "--config.batch_size=many: invalid literal"),
    "--config.=1": (2, "--config. does not name a setting"),
    "--config.a.b.c=1": (2, "the config has no setting"),
    "--nosuch=1": (2, "Unknown command line flag 'nosuch'"),
    "--workdir=": (2, "--workdir is empty"),
    "stray": (1, "unexpected argument 'stray': flags are given as --name=value"),
    "--config=nosuch.py": (2, "--config=nosuch.py: no such file; expected the path of a file, or "),
    "--config.initial_weights=resnet": (1, "use imagenet, random, hf:owner/name, or the path"),
    "--config.loss=hinge": (1, "'hinge'; use one of weighted_cross_entropy"),
    "--config.model.head.name=Hydra": (1, "'Hydra'"),
    "--config.optimizer.learning_rate=-1.0": (1, "it must be above 0"),
}


def assert_one_clear_line(ended: Ended, status: int, message: str) -> None:
    assert ended.returncode == status, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr.partition("\n")[0]
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def launch():
    with forked("runs.experiment", "evaluation.comparison") as launch:
        yield launch


@pytest.mark.parametrize("word", WRONG_WORDS)
def test_wrong_word_is_answered_by_one_line(launch, word):
    assert_one_clear_line(launch("train", "--config=baseline", *PLACES, word), *WRONG_WORDS[word])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare"], "error: --release is required"),
        (["compare", "--release="], "--release is empty"),
        (["compare", "--release=a", "--bootstraps=10000000000"], "not an integer in the range [2,"),
        (
            ["evaluate_boxes", "--workdir=a", "--data_dir=b", "--min_area=nan"],
            "--min_area=nan: expected a finite number",
        ),
        (
            ["train", *PLACES, "--config=nosuch.py", "--config.epochs=1"],
            "--config=nosuch.py: no such file; expected the path of a file, or ",
        ),
        (["predict", "--import=nosuch.py"], "--import=nosuch.py: no such file"),
        (["predict", "--import", "nosuch"], "No module named 'nosuch'"),
    ],
)
def test_missing_flags_and_invalid_values_are_named(launch, words, message):
    assert_one_clear_line(launch(*words), 2, message)


WRONG_FILES = {
    "def get_config(:\n": (2, "line 1: not valid Python: invalid syntax"),
    "def get_config():\n    return rate\n": (2, "line 2: NameError: name 'rate'"),
    "import nosuch\n": (2, "line 1: ModuleNotFoundError: No module named 'nosuch'"),
    "epochs = 3\n": (2, "does not define get_config()"),
    "\0": (2, "not valid Python: source code string cannot contain null bytes"),
    "def get_config():\n    return {'epochs': 3}\n": (1, "start from default_config()"),
    "def get_config():\n    return int('a')\n": (2, "line 2: ValueError: invalid literal"),
    "raise SystemExit(0)\n": (2, "line 1: SystemExit: 0"),
    "def get_config(size):\n    return 1\n": (2, "get_config() missing 1 required positional"),
}


@pytest.mark.parametrize("text", WRONG_FILES)
def test_mistake_in_a_config_file_is_named_with_its_line(launch, tmp_path, text):
    (tmp_path / "mine.py").write_text(text)
    status, message = WRONG_FILES[text]
    ended = launch("train", *PLACES, "--config=mine.py", cwd=tmp_path)
    place = "mine.py, " if message.startswith("line") else ""
    assert_one_clear_line(ended, status, place + message)


def test_mistake_in_an_imported_file_is_named_with_its_line(launch, tmp_path):
    (tmp_path / "fine.py").write_text("import jaxcxr\n")
    (tmp_path / "heads.py").write_text("\nimport nosuch\n")
    words = ["--config", "baseline", "--import", "fine.py", "--import=heads.py"]
    ended = launch("train", *PLACES, *words, cwd=tmp_path)
    assert_one_clear_line(ended, 2, "heads.py, line 2: ModuleNotFoundError: No module named")


def test_config_file_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "mine.py").touch(mode=0)
    code = (
        "import runpy\n"
        "from tests.disks import without_roots_privilege\n"
        "with without_roots_privilege():\n"
        "    runpy.run_path('launch/train.py', run_name='__main__')\n"
    )
    words = [f"--config={tmp_path}/mine.py", "--data_dir=nothing", f"--workdir={tmp_path}/run"]
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {words[0]} cannot be read: Permission denied\n")


def test_help_ends_with_status_0(launch):
    for flag in ("--help", "--helpshort"):
        ended = launch("compare", flag)
        assert ended.returncode == 0
        assert ended.stdout.startswith("usage: ")
        assert "launch/compare.py [--flag=value …] FILES\n" in ended.stdout
        assert "--release: " in ended.stdout


@pytest.mark.parametrize(
    ("interpreter", "started", "on_path", "expected"),
    [
        ("python3", "launch/train.py", False, "python3 launch/report.py"),
        (".venv/bin/python", "launch/train.py", False, ".venv/bin/python launch/report.py"),
        ("python", "/a/jaxcxr/cli/__main__.py", False, "python -m jaxcxr.cli report"),
        ("/v/bin/python", ".venv/bin/jaxcxr", False, ".venv/bin/jaxcxr report"),
        ("/v/bin/python", "/v/bin/jaxcxr", True, "jaxcxr report"),
        ("python", "my folder/train.py", False, "python 'my folder/report.py'"),
    ],
)
def test_other_programs_are_started_as_this_one_was(
    monkeypatch, interpreter, started, on_path, expected
):
    monkeypatch.setattr(sys, "orig_argv", [interpreter, started])
    monkeypatch.setattr(sys, "argv", [started, "--out=a b"])
    monkeypatch.setattr(program.shutil, "which", lambda _: started if on_path else None)
    assert program.command("report") == expected
    assert program.command_again("report") == f"{expected} '--out=a b'"


def test_ctrl_c_while_packages_load_is_quiet():
    command = [sys.executable, "-X", "importtime", str(REPOSITORY / "launch/train.py"), "--nosuch"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip().startswith("absl"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.endswith("stopped by Ctrl-C\n")
    assert "Traceback" not in rest
