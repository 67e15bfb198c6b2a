"""The code, commands and links that people follow from README and docs/ are right."""

import functools
import importlib
import json
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import yaml  # noqa: TID251, our own mkdocs.yml

import jaxcxr
from jaxcxr import evaluation
from jaxcxr.cli import VERBS
from jaxcxr.data.releases import sources
from tests.programs import Launch, forked

REPOSITORY = Path(__file__).parents[1]
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md"), *REPOSITORY.glob("docs/*/*.md")]
TUTORIALS = [*REPOSITORY.glob("docs/tutorials/*.ipynb")]
ROOMS = ("data", "data.phantom", "images", "models", "training.losses")
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


def code_cells(notebook: Path) -> list[dict]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> dict:
    """The names that the notebook leaves behind, and the folder it ran in."""
    cells = code_cells(REPOSITORY / "docs/tutorials/first_steps.ipynb")
    code = "\n".join("".join(cell["source"]) for cell in cells)
    place = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        mpl.use("Agg")
        return run(code, SMALLER, {"place": place})


TINY_NETWORK = {"width=16, blocks=(1, 1, 1)": "width=4, blocks=(1, 1, 1)"}
SMALLER_TUTORIALS = {
    "scoring_another_system": {"IMAGES = 1600": "IMAGES = 300"},
    "heat_maps_and_boxes": {"IMAGES = 1600": "IMAGES = 160"},
    "external_evaluation": {"IMAGES = 1600": "IMAGES = 300"},
    "paper_study": {"IMAGES = 1600": "IMAGES = 160", "EPOCHS = 8": "EPOCHS = 1", **TINY_NETWORK},
    "your_own_head": {"IMAGES = 1600": "IMAGES = 160", "EPOCHS = 6": "EPOCHS = 1", **TINY_NETWORK},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER_TUTORIALS)
def test_tutorials(name, notebook, monkeypatch):
    """Slow: trainings and many maps; `test_notebook` runs the first tutorial."""
    monkeypatch.chdir(notebook["place"])  # two of them continue with its network
    code = code_cells(REPOSITORY / f"docs/tutorials/{name}.ipynb")
    run("\n".join("".join(cell["source"]) for cell in code), SMALLER_TUTORIALS[name], {})


def test_every_tutorial_is_run():
    assert {path.stem for path in TUTORIALS} == {"first_steps", *SMALLER_TUTORIALS}


def test_notebook(notebook):
    assert notebook["probabilities"].shape == (notebook["data"].test.num_images, 14)
    assert len(notebook["run"].history) == 1
    assert notebook["drawn"].ndim == 3


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_notebooks_are_kept_with_outputs_and_without_paths_of_a_machine(path):
    code = code_cells(path)
    outputs = json.dumps([cell["outputs"] for cell in code])
    assert sum(bool(cell["outputs"]) for cell in code) >= len(code) / 2
    drawn = sum("plt.subplots(" in "".join(cell["source"]) for cell in code)
    assert outputs.count("image/png") == drawn
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


@functools.cache
def flags_of(verb: str) -> set[str]:
    command = [sys.executable, "-m", "jaxcxr.cli", verb, "--helpxml"]
    helped = subprocess.run(command, capture_output=True, text=True).stdout
    flags = re.findall(r"<name>(\w+)</name>.*?<type>([^<]+)</type>", helped, re.S)
    return {name for name, _ in flags} | {f"no{name}" for name, kind in flags if kind == "bool"}


def test_commands_of_the_pages_exist():
    commands = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        commands += re.findall(r"(?:jaxcxr|launch/)\s?(\w+)(?:\.py)?((?: +[^\s`]+)+)", text)
    checked = 0
    for verb, words in commands:
        flags = re.findall(r"(?<!=)--(\w+)", words)
        if verb in VERBS and flags:
            assert set(flags) <= flags_of(verb), (verb, words)
            checked += 1
    assert checked > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_and_shell_of_the_pages_have_no_wrong_names(page):
    fences = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M)
    for language, code in fences:
        if language == "sh":
            subprocess.run(["sh", "-n"], input=code, text=True, check=True)
        if language == "python":
            compile(code, page.name, "exec")
            for chain in re.findall(r"\b(?:cxr|jaxcxr)((?:\.\w+)+)\b(?! import)", code):
                functools.reduce(getattr, chain[1:].split("."), jaxcxr)


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


def paths_in_navigation(entries: list) -> list[str]:
    paths = []
    for entry in entries:
        (target,) = entry.values()
        paths += [target] if isinstance(target, str) else paths_in_navigation(target)
    return paths


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    docs = REPOSITORY / "docs"
    pages = [path.relative_to(docs).as_posix() for path in (*docs.rglob("*.md"), *TUTORIALS)]
    assert sorted(paths_in_navigation(navigation)) == sorted([*pages, "changelog.md"])


def test_every_public_name_is_in_the_reference():
    texts = [path.read_text() for path in REPOSITORY.glob("docs/reference/*.md")]
    documented = {*re.findall(r"^::: jaxcxr\.([\w.]+)$", "\n".join(texts), re.M)}
    rooms = {name: importlib.import_module(f"jaxcxr.{name}") for name in ROOMS}
    losses = dir(rooms["training.losses"])
    modules = {"data", "evaluation", "losses"}
    public = {name for name in jaxcxr.__all__ if name not in modules and name not in losses}
    public |= {f"evaluation.{module.name}" for module in pkgutil.iter_modules(evaluation.__path__)}
    for room, module in rooms.items():
        names = {*getattr(module, "__all__", ())} - {*jaxcxr.__all__}
        public |= {f"{room}.{name}" for name in names}
    assert public <= documented
    for name in documented:
        home, _, last = name.rpartition(".")
        parent = importlib.import_module(f"jaxcxr.{home}".rstrip("."))
        assert hasattr(parent, last) or importlib.import_module(f"jaxcxr.{name}"), name


WALK = {
    "--images=3000 --image_size=128": "--images=120 --image_size=64",
    "--image_size=96": "--image_size=64",
    "--config=demo": "--config=demo --config.epochs=1 --config.data.image_size=64 "
    "--config.model.backbone.width=4",
    "predict radiograph.png --out": "predict radiograph.png --model=demo/localizer --out",
}
NOT_WALKED = ("view", "push", "--model=hf:")
"""Words of commands that need a browser or a hub; tests/viewer and tests/cli/test_push.py do."""


def follow(page: str, launch: Launch, place: Path) -> None:
    """Runs the commands of `jaxcxr` in the code blocks of a page, smaller where WALK has it."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    fences = re.findall(r"^```(.*?)\n(.*?)^```$", text, re.S | re.M)
    blocks = [block for language, block in fences if language == ""]
    commands = re.findall(r"^(?:\$ )?jaxcxr ([^#\n]+)", "\n".join(blocks), re.M)
    assert len(commands) > 5
    for command in commands:
        if any(words in command for words in NOT_WALKED):
            continue
        for words, others in WALK.items():
            command = command.replace(words, others)
        words = [
            name.relative_to(place).as_posix() if isinstance(name, Path) else name
            for word in command.split()
            for name in (sorted(place.glob(word)) if "*" in word else [word])
        ]
        ended = launch(*words, cwd=place)
        assert ended.returncode == 0, (command, ended.stderr)


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> Iterator[tuple[Path, Launch]]:
    """The folder in which the page about training was followed, and what runs more programs."""
    place = tmp_path_factory.mktemp("walk")
    modules = ("data.preparation", "runs.experiment", "inference.prepared", "reporting.report")
    with forked(*modules) as launch:
        follow("first_training.md", launch, place)
        yield place, launch


@pytest.mark.slow
def test_page_on_a_first_training(walk, monkeypatch):
    """Quicker: test_commands_of_the_pages_exist; tests/test_end_to_end.py runs these programs."""
    place, _ = walk
    assert (place / "demo/report.html").stat().st_size > 10_000
    asked = [*place.glob("demo/release/images/0000000*.png")]
    assert len(pd.read_csv(place / "demo/predicted/predictions.csv")) == len(asked)
    (code,) = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs/first_training.md").read_text(), re.S
    )
    changes = {"width=32": "width=4", "image_size=96": "image_size=64", "epochs=20": "epochs=1"}
    monkeypatch.chdir(place)
    assert len(run(code, changes, {})["run"].history) == 1


@pytest.mark.slow
def test_page_on_a_first_prediction(walk, monkeypatch):
    """Quicker: test_commands_of_the_pages_exist; tests/cli/test_predict.py runs these programs."""
    place, launch = walk
    scans = place / "scans"
    scans.mkdir()
    lines = ["Image Index,Patient ID,Effusion"]
    for number, path in enumerate(sorted(place.glob("demo/release/images/*.png"))[:40]):
        shutil.copy(path, scans)
        lines.append(f"{path.name},{number},{number // 2 % 2}")
    (place / "own.csv").write_text("\n".join(lines) + "\n")
    shutil.copy(path, place / "radiograph.png")
    follow("first_prediction.md", launch, place)
    overlays = (place / "predicted/overlays").iterdir()
    assert all(path.name.startswith("radiograph.png.") for path in overlays)
    assert "own.csv" in (place / "lung-model/config.json").read_text()
    monkeypatch.chdir(place)
    published = "torchxrayvision-densenet121-all"
    models = {"first_prediction": published, "index": published, "model_folders": "models/baseline"}
    for page, model in models.items():
        text = (REPOSITORY / f"docs/{page}.md").read_text()
        (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
        left = run(code.replace(".dcm", ".png"), {model: "lung-model"}, {"cxr": jaxcxr})
        assert left["prediction"].table().index[0] in jaxcxr.FINDINGS


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


def test_manifest_for_kubernetes_fits_together():
    text = (REPOSITORY / "docs/how_to/kubernetes.md").read_text(encoding="utf-8")
    (manifest,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    service, job = yaml.safe_load_all(manifest)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", spec["parallelism"])
    (container,) = pod["containers"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    _, verb, *words = shlex.split(container["args"][0].removeprefix("exec "))
    given = dict(word.removeprefix("--").split("=", 1) for word in words)
    assert set(given) <= flags_of(verb) | {"config"}
    host, _, port = given["coordinator"].partition(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert port.isdigit()
    assert given["processes"] == str(spec["completions"])
    assert given["process"] == "$JOB_COMPLETION_INDEX"


EXPLANATIONS = ("calibration", "heat_map_geometry", "weighted_cross_entropy")


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_python_of_the_explanations_runs(name, capsys):
    text = (REPOSITORY / f"docs/explanations/{name}.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    run(code, {}, {})
    assert capsys.readouterr().out in text


def test_python_on_chest_mnist_reads_its_arrays(monkeypatch, tmp_path):
    text = (REPOSITORY / "docs/data.md").read_text().partition("ChestMNIST\n")[2]
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    images, labels = np.zeros((5, 28, 28), np.uint8), np.zeros((5, 14), np.uint8)
    arrays = {f"{split}_{name}": array for split in ("train", "val")
              for name, array in (("images", images), ("labels", labels))}  # fmt: skip
    np.savez(tmp_path / "chestmnist_224.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    left = run(code, {"run = cxr.fit(": "run = partial(print, "}, {"partial": functools.partial})
    assert left["train"].num_images == left["validation"].num_images == 5


def test_python_on_a_pooling_of_ones_own():
    text = (REPOSITORY / "docs/networks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    head = run(code, {}, {"__name__": "own", "jaxcxr": jaxcxr, "jax": jax})["TopMean"]()
    maps = np.arange(32.0, dtype=np.float32).reshape(1, 4, 4, 2)
    np.testing.assert_array_equal(head.pool(maps), [[21.0, 22.0]])  # means of the ten highest


def test_page_on_a_source_of_ones_own(monkeypatch, tmp_path):
    text = (REPOSITORY / "docs/data.md").read_text().partition("### A source of your own")[2]
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
