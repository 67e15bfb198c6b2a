"""The code, commands and links that people follow from README and docs/ are right."""

import json
import re
import tomllib
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from jaxcxr.cli import VERBS
from jaxcxr.data.releases import sources

REPOSITORY = Path(__file__).parents[1]
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md")]
SMALLER = {
    "IMAGES = 1600": "IMAGES = 160",
    "EPOCHS = 8": "EPOCHS = 1",
    "width=32, blocks=(2, 2)": "width=4, blocks=(1, 1)",
}


def run(code: str, changes: dict[str, str], namespace: dict) -> dict:
    for words, others in changes.items():
        assert words in code, f"the text no longer contains {words!r}"
        code = code.replace(words, others)
    exec(compile(code, "document", "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def cells() -> list[dict]:
    return json.loads((REPOSITORY / "docs" / "first_steps.ipynb").read_text())["cells"]


@pytest.fixture(scope="module")
def notebook(cells, tmp_path_factory) -> dict:
    """The names that the notebook leaves behind, and the folder it ran in."""
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    place = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        mpl.use("Agg")
        return run(code, SMALLER, {"place": place})


def test_notebook(notebook):
    assert notebook["probabilities"].shape == (notebook["data"].test.num_images, 14)
    assert len(notebook["run"].history) == 1
    assert notebook["drawn"].ndim == 3


def test_notebook_is_kept_with_its_outputs_and_without_paths_of_a_machine(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = json.dumps([cell["outputs"] for cell in code])
    assert sum(bool(cell["outputs"]) for cell in code) >= len(code) - 1
    assert outputs.count("image/png") >= 3
    assert not re.search(r"(/home|/root|/tmp|/work|/Users)/|Traceback", outputs)


def test_python_of_the_readme(notebook, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    monkeypatch.chdir(notebook["place"])
    changes = {
        '"~/tensorflow_datasets", image_size=256': '"first_steps/datasets", image_size=96',
        "cxr.ResNet34()": "cxr.ResNet18(width=4, blocks=(1, 1))",
        "epochs=30": "epochs=1",
        "batch_size=128": "batch_size=16",
        'initial_weights="imagenet"': "initial_weights=None",
    }
    images = np.zeros((2, 96, 96, 1), np.uint8)
    left = run(code, changes, {"images": images})
    assert left["probabilities"].shape == (2, 14)
    assert left["heatmaps"].values.shape[-1] == 14


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:tests|jaxcxr|configs|launch|docs|benchmarks)/[\w/.]+\.\w+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in named if not (REPOSITORY / path).exists()]
    assert missing == []


def flags_of(verb: str) -> set[str]:
    names = (verb, "box_files", "box_flags", "cluster", "models", "own_modules", "scoring")
    sources = [REPOSITORY / "jaxcxr" / "cli" / f"{name}.py" for name in names]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    pattern = r"(?:DEFINE_\w+\(\s*|define_flags\(\s*|instead_of_release=)\"(\w+)\""
    off = {f"no{name}" for name in re.findall(r"DEFINE_bool\w*\(\s*\"(\w+)\"", text)}
    return set(re.findall(pattern, text)) | off


def test_commands_of_the_pages_exist():
    commands = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        commands += re.findall(r"(?:jaxcxr|launch/)\s?(\w+)(?:\.py)?((?: +[^\s`]+)+)", text)
    checked = 0
    for verb, words in commands:
        flags = re.findall(r"--(\w+)", words)
        if verb in VERBS and flags:
            assert set(flags) <= flags_of(verb) | {"config", "help"}, (verb, words)
            checked += 1
    assert checked > 15


def test_pages_and_messages_install_extras_in_one_way():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    sources = [*PAGES, *(REPOSITORY / "jaxcxr").rglob("*.py"), *REPOSITORY.glob("benchmarks/*.py")]
    found = [
        command
        for path in sources
        for command in re.findall(r"pip install [^`\n;]*\[[^`\n;]*", path.read_text("utf-8"))
    ]
    assert len(found) > 5
    for command in found:
        match = re.match(r"pip install 'jaxcxr\[([\w,]+)\]'", command)
        assert match, command
        assert {*match[1].split(",")} <= project["optional-dependencies"].keys(), command


def test_citation_is_of_this_version():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f"\nversion: {project['version']}\n" in (REPOSITORY / "CITATION.cff").read_text()


def test_workflows_run_targets_of_the_makefile_on_the_supported_pythons():
    workflows = {path.stem: path.read_text() for path in REPOSITORY.glob(".github/workflows/*")}
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"run: make ([\w-]+)", "\n".join(workflows.values()))
    assert {"lint", "test", "test-torch", "docs", "wheel"} <= set(targets)
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.M)] == []
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pythons = [line[-4:] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]
    (matrix,) = re.findall(r"python: \[(.*)\]", workflows["checks"])
    assert re.findall(r"[\d.]+", matrix) == pythons


def test_what_holds_the_claims_is_there():
    text = (REPOSITORY / "docs/claims.md").read_text()
    named = re.findall(r"`((?:tests|benchmarks|docs)/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 50
    for path, test in named:
        assert (REPOSITORY / path).is_file(), path
        assert not test or f"def {test}(" in (REPOSITORY / path).read_text(), (path, test)


def test_changelog_has_a_dated_entry_of_this_version():
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(version)} – \d{{4}}-\d\d-\d\d$", changelog, re.M)


def test_page_on_own_heads_losses_callbacks_and_data(monkeypatch, tmp_path, capsys):
    blocks = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs/extending.md").read_text(), re.S
    )
    monkeypatch.chdir(tmp_path)
    changes = {"cxr.ResNet34()": "cxr.ResNet18(width=4, blocks=(1, 1, 1))"}
    left = run("\n".join(blocks), changes, {"__name__": "own"})
    assert len(left["run"].history) == 1
    assert str(left["run"].history["loss"][0]) in capsys.readouterr().out
    assert left["probabilities"].shape == (2, 14)
    config = json.loads((tmp_path / "runs/own_head/config.json").read_text())
    assert config["model"]["head"] == {
        "name": "WeightedMean", "num_classes": 14, "use_bias": False, "dropout": 0.1,
    }  # fmt: skip
    predictor = left["cxr"].Predictor.from_run("runs/own_head")
    assert predictor.model == left["model"]
    assert predictor.model.heatmap_grid == (0.0, 16.0)
    started = left["cxr"].fit(
        left["model"], left["data"], epochs=1, batch_size=16, verbose=False,
        initial_weights="runs/own_head", frozen=("backbone", "head"),
    )  # fmt: skip
    mine, theirs = started.variables["params"], predictor.variables["params"]
    np.testing.assert_array_equal(
        mine["backbone"]["conv1"]["kernel"], theirs["backbone"]["conv1"]["kernel"]
    )


def test_page_on_a_source_of_ones_own(monkeypatch, tmp_path):
    text = (REPOSITORY / "docs/data.md").read_text().partition("### A source of one's own")[2]
    code = re.findall(r"```python\n(.*?)```", text, re.S)[0]
    (tmp_path / "ward7/scans").mkdir(parents=True)
    rows = ["scan,person,collapse", "a,P1,yes", "b,P1,no", "c,P2,?"]
    (tmp_path / "ward7/ward7.csv").write_text("\n".join(rows) + "\n")
    for name in "abc":
        (tmp_path / f"ward7/scans/{name}.png").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "READERS", dict(sources.READERS))
    release = run(code, {}, {})["release"]
    assert (release.source, [*release.image_paths]) == ("ward7", ["a.png", "b.png", "c.png"])
    np.testing.assert_array_equal(release.images["Pneumothorax"], [1, 0, np.nan])
    assert release.images["Mass"].isna().all()
