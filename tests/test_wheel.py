"""The wheel, built and installed: the command `jaxcxr`, its verbs, and the configs by name."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from jaxcxr.cli import VERBS
from jaxcxr.cli.configs import find_config

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(
        [*command, "--directory", folder], cwd=REPOSITORY, capture_output=True, check=True
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder of the installed package alone; dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", folder, wheel], capture_output=True, check=True)
    return folder


def jaxcxr(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, installed / "bin" / "jaxcxr", *words]
    return subprocess.run(
        command, cwd=installed.parent, env=environment, capture_output=True, text=True, check=False
    )


def test_wheel_holds_every_file_of_the_package_and_the_configs(wheel):
    command = ["git", "ls-files", "jaxcxr", "configs"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a clone")
    names = [name.replace("configs/", "jaxcxr/configs/", 1) if name.startswith("configs/") else name
             for name in listed.stdout.split() if (REPOSITORY / name).exists()]  # fmt: skip
    assert set(names) <= set(zipfile.ZipFile(wheel).namelist())


def test_help_lists_all_verbs_within_a_moment(installed):
    seconds = []
    for _ in range(3):  # the quickest counts: other tests run beside this one
        began = time.monotonic()
        done = jaxcxr(installed, "--help")
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 0.6
    assert done.returncode == 0
    modules = {path.stem for path in (installed / "jaxcxr" / "cli").glob("*.py")}
    assert set(VERBS) <= modules
    for verb, line in VERBS.items():
        assert f"  {verb:<16} {line}\n" in done.stdout


def test_unknown_verb_is_refused(installed):
    done = jaxcxr(installed, "trian")
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'trian' is not a verb of jaxcxr\nusage: jaxcxr VERB")


@pytest.mark.parametrize("verb", ["train", "predict"])
def test_help_of_a_verb_names_the_command_and_its_flags(installed, verb):
    done = jaxcxr(installed, verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {installed}/bin/jaxcxr {verb} [--flag=value …]")
    assert "--workdir: " in done.stdout


@pytest.mark.parametrize(
    ("words", "size"),
    [(["--config=demo"], 96), (["--config", "baseline"], 256), (["--config=configs/demo.py"], 96)],
)
def test_configs_come_with_the_wheel(installed, words, size):
    done = jaxcxr(installed, "train", *words, "--data_dir=none", "--workdir=run")
    assert done.returncode == 1
    assert f"none/chest_xray14/{size}/" in done.stderr  # read, up to the dataset that is missing


def test_config_file_comes_before_a_config_of_its_name_and_takes_an_argument(tmp_path, monkeypatch):
    shipped = REPOSITORY / "configs"
    assert find_config("baseline") == str(shipped / "baseline.py")
    assert find_config("baseline:small") == f"{shipped / 'baseline.py'}:small"
    assert find_config("nosuch") == "nosuch"
    monkeypatch.chdir(tmp_path)
    assert find_config("configs/baseline.py") == str(shipped / "baseline.py")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "baseline.py").touch()
    assert find_config("configs/baseline.py:small") == "configs/baseline.py:small"
