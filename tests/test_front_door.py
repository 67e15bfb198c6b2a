"""`import jaxcxr` is light, and every public name can be had."""

import subprocess
import sys

import jaxcxr


def test_every_public_name_can_be_imported():
    for name in jaxcxr.__all__:
        assert getattr(jaxcxr, name) is not None
    assert dir(jaxcxr) == sorted(jaxcxr.__all__)


def test_import_alone_brings_neither_jax_nor_tensorflow():
    program = "import sys, jaxcxr; print([m for m in ('jax', 'tensorflow') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_networks_and_training_need_no_tensorflow():
    program = """
import sys
sys.modules["tensorflow"] = sys.modules["tensorflow_datasets"] = None
import jaxcxr.runs.experiment
del sys.modules["jaxcxr.runs.workdir"]
sys.modules["ml_collections"] = None
import jaxcxr.evaluation, jaxcxr.models, jaxcxr.inference.predictor, jaxcxr.training.fit
"""
    subprocess.run([sys.executable, "-c", program], check=True)
