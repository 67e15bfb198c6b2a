"""Headers of safetensors files are not believed: contradictions are refused."""

import json
import struct

import pytest

from jaxcxr.errors import UserError
from jaxcxr.models.weights.torch_files import read_torch_file

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
    with pytest.raises(
        UserError, match=r"weights.safetensors (is not a complete|holds numbers of the type F8)"
    ):
        read_torch_file(path)
