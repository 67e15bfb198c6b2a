"""The code that people copy from README and docs/ runs as it stands, but for its size."""

import json
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
SMALLER = {
    "IMAGES = 1200": "IMAGES = 160",
    "EPOCHS = 6": "EPOCHS = 1",
    "width=32, blocks=(2, 2, 2)": "width=4, blocks=(1, 1, 1)",
}


def run(code: str, changes: dict[str, str], namespace: dict) -> dict:
    for words, others in changes.items():
        assert words in code, f"the text no longer says {words!r}"
        code = code.replace(words, others)
    exec(compile(code, "document", "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> dict:
    """The names that the notebook leaves behind, and the folder it ran in."""
    cells = json.loads((REPOSITORY / "docs" / "first_steps.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    place = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        mpl.use("Agg")
        return run(code, SMALLER, {"place": place})


def test_notebook(notebook, capsys):
    assert notebook["probabilities"].shape == (notebook["data"].test.num_images, 14)
    assert len(notebook["run"].history) == 1
    assert notebook["drawn"].ndim == 3


def test_python_of_the_readme(notebook, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    monkeypatch.chdir(notebook["place"])
    changes = {
        '"~/tensorflow_datasets", image_size=256': '"first_steps/datasets", image_size=96',
        "cxr.ResNet34()": "cxr.ResNet18(width=4, blocks=(1, 1))",
        "epochs=30": "epochs=1",
        "batch_size=128": "batch_size=16",
        'initial_weights="imagenet"': "initial_weights=None",
        "summary(model)": "summary(model, 96)",
    }
    images = np.zeros((2, 96, 96, 1), np.uint8)
    left = run(code, changes, {"images": images})
    assert left["probabilities"].shape == (2, 14)
    assert left["heatmaps"].shape[-1] == 14
