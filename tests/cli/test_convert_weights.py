import json

import jax
import numpy as np
import pytest

from jaxcxr.models import ResNet18
from jaxcxr.models.weights.pretrained import to_torch
from jaxcxr.models.weights.torch_files import read_torch_file, write_torch_file
from tests.programs import launch


def convert(*words):
    return launch("convert_weights", *words)


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    """A file of ResNet-18 in full size, which holds its number at every place of an array."""
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    shapes = jax.eval_shape(ResNet18().init, jax.random.key(0), images)
    leaves, tree = jax.tree.flatten(
        {name: {"backbone": part} for name, part in dict(shapes).items()}
    )
    arrays = [np.full(leaf.shape, number, np.float32) for number, leaf in enumerate(leaves)]
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    write_torch_file(path, to_torch(tree.unflatten(arrays), "ResNet18"))
    return path


def test_to_a_folder_and_back(resnet18, tmp_path):
    there = convert("--source", resnet18, "--model=ResNet18", "--out", tmp_path / "folder")
    assert there.returncode == 0, there.stderr
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["network"]["backbone"]["name"] == "ResNet18"
    back = tmp_path / "back.safetensors"
    again = convert("--source", tmp_path / "folder", "--to=torch", "--out", back)
    assert again.returncode == 0, again.stderr
    before, after = read_torch_file(resnet18), read_torch_file(back)
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=ResNet99"], "--model is ResNet99: name the file's network, ResNet18, "),
        (["--model=ResNet34"], "holds a ResNet18 alone, not a ResNet34"),
        (["--model=baseline", "--head=pooling=sum"], "'max_average'"),
    ],
)
def test_wrong_call_is_refused_and_leaves_nothing(arguments, message, resnet18, tmp_path):
    done = convert("--source", resnet18, "--out", tmp_path / "out", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
