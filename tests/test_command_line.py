"""What launch/train.py says to a person who mistypes."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "launch/train.py", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.nonsense=1"], "the config has no setting nonsense"),
        (["--config.optimizer.learning_rat=1"], "Did you mean learning_rate"),
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
