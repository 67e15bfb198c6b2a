"""How many devices a program computes on, each time in a process whose JAX has not started."""

import json
import os
import subprocess
import sys

import pytest

from tests.programs import REPOSITORY
from tests.tiny import tiny_study

PROGRAM = """
import os
import jax
os.sched_getaffinity = lambda _: set(range({cores}))
{before}
from jaxcxr.cli.cpu_devices import use_device_per_core
use_device_per_core({arguments})
print(len(jax.devices()))
"""


@pytest.mark.parametrize(
    ("devices", "cores", "arguments", "before", "environment"),
    [
        pytest.param(2, 2, "", "", {}, id="a device for each of two cores"),
        pytest.param(2, 2, "batch_size=16", "", {}, id="a batch that divides"),
        pytest.param(1, 2, "batch_size=15", "", {}, id="a batch that does not"),
        pytest.param(1, 1, "", "", {}, id="one core"),
        pytest.param(1, 4, "", "", {}, id="more cores, which were not measured"),
        pytest.param(1, 2, "", "", {"JAX_NUM_CPU_DEVICES": "1"}, id="chosen by the user"),
        pytest.param(
            3, 2, "", "", {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, id="in XLA"
        ),
        pytest.param(1, 2, "", "jax.numpy.zeros(1)", {}, id="JAX has started"),
    ],
)
def test_programs_compute_on(devices, cores, arguments, before, environment):
    program = PROGRAM.format(cores=cores, before=before, arguments=arguments)
    unset = {"JAX_NUM_CPU_DEVICES", "XLA_FLAGS"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == devices


def test_a_training_on_two_cores_has_two_devices(tmp_path):
    tiny_study(tmp_path)
    cores = "import os\nos.sched_getaffinity = lambda _: {0, 1}\n"
    (tmp_path / "sitecustomize.py").write_text(cores)
    flags = ["--config=tiny.py", "--data_dir=.", "--workdir=run", "--config.epochs=1"]
    unset = {"JAX_NUM_CPU_DEVICES", "XLA_FLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{REPOSITORY}"
    command = [sys.executable, str(REPOSITORY / "launch" / "train.py"), *flags]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["devices"] == 2
