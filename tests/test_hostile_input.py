"""Files from strangers are data: nothing in them runs, leads elsewhere, or is believed."""

import ast
import json
import struct
from pathlib import Path

import numpy as np
import pytest

import jaxcxr as cxr
from jaxcxr.errors import UserError
from jaxcxr.models.weights.torch_files import read_torch_file
from jaxcxr.training.callbacks import Progress
from jaxcxr.training.history import History

REPOSITORY = Path(__file__).parents[1]
TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def safetensors(header: object, data: bytes = bytes(8), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


LIES = {
    "a header of 2^60 bytes": safetensors({"a": TENSOR}, length=2**60),
    "offsets beyond the end": safetensors(
        {"a": TENSOR | {"shape": [200], "data_offsets": [0, 800]}}
    ),
    "offsets turned round": safetensors({"a": TENSOR | {"data_offsets": [8, 0]}}),
    "a shape that overflows": safetensors({"a": TENSOR | {"shape": [2**40, 2**40]}}),
    "another shape than its bytes": safetensors({"a": TENSOR | {"shape": [3]}}),
    "tensors that share bytes": safetensors({"a": TENSOR, "b": TENSOR}),
    "bytes of no tensor": safetensors({"a": TENSOR}, bytes(80)),
    "an unknown type": safetensors({"a": TENSOR | {"dtype": "X9"}}),
    "a type unknown to NumPy": safetensors(
        {"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "endless nesting": safetensors(b"[" * 100_000),
    "no table": safetensors([1, 2]),
}


@pytest.mark.parametrize("lie", LIES)
def test_invalid_headers_of_safetensors_are_refused(tmp_path, lie):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(LIES[lie])
    with pytest.raises(UserError, match=r"weights.safetensors is not a complete safetensors file"):
        read_torch_file(path)


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(n.func), n) for n in ast.walk(tree) if isinstance(n, ast.Call)]


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.literal_eval(k.value) for k in call.keywords if k.arg == name), None)


def dangers(path: Path) -> list[str]:
    """Returns the calls that run what a file holds, of those that no rule of ruff knows."""
    found = []
    for name, call in calls(path):
        last = name.rpartition(".")[2]
        runs_pickles = (
            (last == "load" and keyword(call, "allow_pickle") is True)
            or (name == "torch.load" and keyword(call, "weights_only") is not True)
            or last in ("read_pickle", "to_pickle", "Unpickler", "enable_unsafe_deserialization")
            or (last == "open" and name.startswith("shelve."))
        )
        if runs_pickles:
            found.append(f"{path.name}:{call.lineno} {name}")
    return found


def test_no_program_runs_what_a_file_holds(tmp_path):
    """Beside ruff's rules S301 to S307 and S506, which know pickle, marshal, eval and yaml."""
    sources = [
        path
        for folder in ("jaxcxr", "launch", "configs", "benchmarks", "docs")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    assert len(sources) > 80
    assert [danger for path in sources for danger in dangers(path)] == []
    bad = tmp_path / "bad.py"
    bad.write_text(
        "np.load(p, allow_pickle=True)\ntorch.load(p)\ntorch.load(p, weights_only=False)\n"
        "pd.read_pickle(p)\npickle.Unpickler(p)\n"
    )
    assert len(dangers(bad)) == 5


def test_event_files_contain_no_folder(tmp_path):
    record = {"epoch": 1, "loss": 1.0, "val_loss": 2.0}
    progress = Progress(None, History((record,)), 1, {"initial_weights": str(Path.home() / "w.pt")})
    callback = cxr.TensorBoard(tmp_path / "events")
    callback.set_progress(progress)
    callback.on_epoch_end(1, record)
    (path,) = (tmp_path / "events").iterdir()
    content = path.read_bytes()
    assert b"val_loss" in content
    assert str(tmp_path).encode() not in content
    assert str(Path.home()).encode() not in content
    assert np.frombuffer(content, np.uint8).size < 2000
