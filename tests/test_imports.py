"""Which room imports which, what each room leaves alone, and what an import does to a process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcxr

PACKAGE = Path(jaxcxr.__file__).parent

LAYERS = (
    ("errors",),
    ("findings", "files"),
    ("images",),  # with the grids of pixels and cells
    ("models", "evaluation"),
    ("data", "training"),
    ("runs",),
    ("inference",),
    ("export", "reporting"),
    ("viewer",),  # draws as the report does
    ("cli",),
)
"""From the lowest: a room imports itself and the layers below its own, never beside or above."""


def layer_of(room: str) -> int:
    return next(level for level, rooms in enumerate(LAYERS) if room in rooms)


def rooms_imported(source: str) -> set[str]:
    """Returns the rooms of this package that a module's text imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            names |= {f"{module}.{a.name}" for a in node.names} if module == "jaxcxr" else {module}
    parts = [name.split(".") for name in names]
    return {part[1] if part[1:] else "__init__" for part in parts if part[0] == "jaxcxr"}


def violations() -> set[tuple[str, str]]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        room = place.parts[0].removesuffix(".py")
        if room in ("__init__", "configs"):
            continue
        for other in rooms_imported(path.read_text(encoding="utf-8")) - {room}:
            if other == "__init__" or layer_of(other) >= layer_of(room):
                found.add((place.as_posix(), other))
    return found


def test_imports_go_in_one_direction():
    assert violations() == set()


def test_package_root_holds_the_front_door_and_three_modules():
    modules = {path.name for path in PACKAGE.glob("*.py")}
    assert modules == {"__init__.py", "errors.py", "files.py", "findings.py"}


def modules_of(room: str) -> list[str]:
    """Returns the names of a room's modules."""
    if (PACKAGE / f"{room}.py").exists():
        return [f"jaxcxr.{room}"]
    paths = [path.relative_to(PACKAGE.parent) for path in (PACKAGE / room).rglob("*.py")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)


def output_of(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


UNUSED = {
    "images": ("jax", "flax", "tensorflow"),
    "evaluation": ("jax", "flax", "tensorflow"),
    "models": ("tensorflow",),
    "training": ("tensorflow",),
    "runs": ("tensorflow",),
    "inference": ("tensorflow",),
}


@pytest.mark.parametrize("room", UNUSED)
def test_room_works_without_the_packages_it_does_not_use(room):
    program = f"""
import importlib, sys
for name in {UNUSED[room]}:
    sys.modules[name] = None  # its import fails
for module in {modules_of(room)}:
    importlib.import_module(module)
"""
    output_of(program)


def test_import_of_the_front_door_is_light():
    packages = ("jax", "numpy", "tensorflow", "absl")
    assert output_of(f"import sys, jaxcxr; print(sys.modules.keys() & {packages})") == "set()"


def test_every_public_name_can_be_imported():
    for name in jaxcxr.__all__:
        assert getattr(jaxcxr, name) is not None
    assert dir(jaxcxr) == sorted(jaxcxr.__all__)


def test_import_changes_neither_signals_nor_environment_nor_descriptors():
    rooms = ("images", "models", "evaluation", "training", "runs", "inference", "reporting")
    modules = [module for room in rooms for module in modules_of(room)]
    program = f"""
import os, signal, sys
def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    files = {{os.readlink(f"/proc/self/fd/{{fd}}") for fd in (0, 1, 2)}}
    return handlers, dict(os.environ), files, sys.stdout, sys.stderr, sys.excepthook
import jax, orbax.checkpoint, matplotlib, PIL.Image, sklearn  # what they change is theirs
before = state()
import importlib
for module in {modules}:
    importlib.import_module(module)
assert state() == before
"""
    output_of(program)
