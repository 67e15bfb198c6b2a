"""What launch programs say to a person who mistypes, or who changes their mind at once."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LAUNCH = REPOSITORY / "launch"


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "launch/train.py", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.nonsense=1"], "the config has no setting nonsense"),
        (["--config.optimizer.learning_rat=1"], "Did you mean learning_rate"),
        (["--config.epoch=3"], "no setting epoch Did you mean epochs"),
        (["--config.batch_size=many"], "--config.batch_size=many: invalid literal"),
        (["--config.=1"], "--config. names no setting"),
        (["--config.a.b.c=1"], "the config has no setting"),
        (["--nosuch=1"], "Unknown command line flag 'nosuch'"),
        (["stray"], "unexpected argument 'stray'"),
        (["--config=nosuch.py"], "--config=nosuch.py: no such file"),
        (["--config.initial_weights=resnet"], "use imagenet, random, a file"),
        (["--config.loss=hinge"], "config.loss is 'hinge'; use one of weighted_cross_entropy"),
        (["--config.model.head.name=Hydra"], "model.head.name is 'Hydra'"),
        (["--config.optimizer.learning_rate=-1.0"], "it must be above 0"),
    ],
)
def test_one_clear_line_and_no_traceback(tmp_path, arguments, message):
    done = train(
        "--config=configs/baseline.py",
        f"--data_dir={tmp_path / 'nothing'}",
        f"--workdir={tmp_path / 'run'}",
        *arguments,
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_missing_flags_are_named():
    done = train("--config=configs/baseline.py")
    assert done.returncode == 2
    assert "--data_dir" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("program", "words", "message"),
    [
        ("compare", "--release=", "--release is empty"),
        ("compare", "--release=a --bootstraps=10000000000", "not an integer in the range [2, 1000"),
        ("report", "--workdirs= --out=a.html", "--workdirs is empty"),
        (
            "evaluate_boxes",
            "--workdir=a --data_dir=b --min_area=nan",
            "--min_area=nan: expected a finite number",
        ),
    ],
)
def test_values_that_no_flag_means(program, words, message):
    command = [sys.executable, f"launch/{program}.py", *words.split()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_config_that_is_none_is_named():
    done = train("--config=jaxcxr/errors.py", "--data_dir=nothing", "--workdir=nothing")
    assert done.returncode == 2
    assert "defines no get_config()" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:\n", "mine.py, line 1: no valid Python: invalid syntax"),
        ("def get_config():\n    return rate\n", "mine.py, line 2: NameError: name 'rate'"),
        ("import nosuch\n", "mine.py, line 1: ModuleNotFoundError: No module named 'nosuch'"),
        ("\0", "no valid Python: source code string cannot contain null bytes"),
        ("def get_config():\n    return {'epochs': 3}\n", "start from default_config()"),
        (
            "def get_config():\n    return int('a')\n",
            "mine.py, line 2: ValueError: invalid literal",
        ),
        ("raise SystemExit(0)\n", "mine.py, line 1: SystemExit: 0"),
        ("def get_config(size):\n    return 1\n", "get_config() missing 1 required positional"),
    ],
)
def test_a_mistake_in_a_config_file_is_told_with_its_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    command = [sys.executable, LAUNCH / "train.py", "--config=mine.py"]
    command += ["--data_dir=nothing", "--workdir=run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_config_file_that_may_not_be_read_is_named(tmp_path):
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
    assert done.returncode == 1
    assert done.stderr == f"error: {words[0]} cannot be read: Permission denied\n"


def test_help_is_no_mistake():
    command = [sys.executable, "launch/compare.py", "--helpshort"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--release" in done.stdout


@pytest.mark.parametrize(
    "program", sorted((REPOSITORY / "launch").glob("*.py")), ids=lambda p: p.stem
)
def test_ctrl_c_while_packages_load_is_quiet(program):
    """It is taken over before the first package loads that takes its time."""
    command = [sys.executable, "-X", "importtime", str(LAUNCH / program), "--nosuch"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            module = line.rpartition("|")[2].strip()
            assert not module.startswith(("numpy", "pandas", "jax."))
            if module.startswith("absl"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in rest


def test_ctrl_c_at_work_is_caught_and_a_deaf_process_stays_deaf():
    code = (
        "import signal, sys\n"
        "if sys.argv[1] == 'deaf': signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from jaxcxr.cli import interrupts\n"
        "try:\n"
        "    with interrupts.raised(): signal.raise_signal(signal.SIGINT)\n"
        "    print('deaf')\n"
        "except KeyboardInterrupt: print('caught')\n"
        "assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler\n"
    )
    for how, said in (("deaf", "deaf"), ("usual", "caught")):
        command = [sys.executable, "-c", code, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said
