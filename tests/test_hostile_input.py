"""Files from strangers are data: nothing in them runs, leads elsewhere, or is believed."""

import json
import re
import struct
from pathlib import Path

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


RUNS_PICKLES = re.compile(
    r"allow_pickle=True|read_pickle\(|to_pickle\(|Unpickler|enable_unsafe_deserialization"
    r"|shelve\.open|torch\.load\((?!(?s:[^()]|\([^()]*\))*weights_only=True)"
)
"""Beside ruff's rules S301 to S307 and S506, which know pickle, marshal, eval and yaml."""


def test_no_program_runs_what_a_file_holds():
    folders = ("jaxcxr", "launch", "configs", "benchmarks", "docs")
    sources = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(sources) > 80
    for path in sources:
        assert not RUNS_PICKLES.search(path.read_text(encoding="utf-8")), path
    assert RUNS_PICKLES.search("torch.load(open(p), weights_only=False)")
    assert not RUNS_PICKLES.search("torch.load(open(p),\n weights_only=True)")


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
