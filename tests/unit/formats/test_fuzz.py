"""Whatever the bytes are: facts or one line, within bounds of time and memory. Nothing else leaves ``inspect``."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sizewise.core.profiles import ModelFacts
from sizewise.formats import inspect
from sizewise.protocols.errors import ModelFileError
from tests.unit.formats.conftest import archive
from tests.unit.formats.test_malicious_others import PYTHON, program, script

LIMIT_S = 1.0
TORCH_TENSOR = (
    b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tRs."
)
FORMATS = ["onnx", "skops", "ubj", "json", "txt", "safetensors", "pt", "script", "pt2", "py"]

Files = dict[str, tuple[str, bytes]]


@pytest.fixture(scope="session")
def files(
    onnx_bytes: bytes,
    skops_bytes: bytes,
    ubj_bytes: bytes,
    xgboost_json_bytes: bytes,
    lightgbm_bytes: bytes,
    safetensors_bytes: bytes,
) -> Files:
    data = (onnx_bytes, skops_bytes, ubj_bytes, xgboost_json_bytes, lightgbm_bytes, safetensors_bytes)
    found = {name: (f"m.{name}", each) for name, each in zip(FORMATS[:6], data, strict=True)}
    torch = {
        "pt": archive({"m/data.pkl": TORCH_TENSOR, "m/data/0": bytes(24)}),
        "script": script(b"def forward(self): ..."),
    }
    inputs = b"INPUTS = [{'name': 'x', 'datatype': 'FP32', 'shape': [-1, 2]}]\n"
    others = {"pt": ("m.pt", torch["pt"]), "script": ("s.pt", torch["script"])}
    return {**found, **others, "pt2": ("m.pt2", program()), "py": ("m.py", PYTHON + inputs)}


def outcome(path: Path) -> ModelFacts | None:
    started_s = time.process_time()
    facts, message = None, ""
    try:
        facts = inspect(path)
    except ModelFileError as error:
        message = str(error)
    assert "\n" not in message
    assert time.process_time() - started_s < LIMIT_S
    return facts


edits = st.lists(
    st.tuples(st.sampled_from(("set", "cut", "insert", "drop", "repeat")), st.floats(0, 1), st.binary(max_size=12)),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, piece in changes:
        at = int(where * len(data))
        if kind == "set":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "drop":
            data = data[:at] + data[at + 1 + len(piece) :]
        else:
            data = data[: at + 64] + data[at:]
    return data


@pytest.mark.parametrize("kind", FORMATS)
def test_unchanged_files_are_read(tmp_path: Path, files: Files, kind: str) -> None:
    if kind != "script":  # this one holds no tensors
        name, data = files[kind]
        (tmp_path / name).write_bytes(data)
        assert outcome(tmp_path / name) is not None


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=edits)
def test_edited_files(tmp_path: Path, files: Files, kind: str, changes: list[tuple[str, float, bytes]]) -> None:
    name, data = files[kind]
    path = tmp_path / name
    path.write_bytes(edited(data, changes))
    outcome(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), name=st.sampled_from(["m.onnx", "m.pt", "m.ubj", "m.skops", "m.bin", "m.txt"]))
def test_any_bytes(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(data)
    outcome(tmp_path / name)


@pytest.mark.parametrize("kind", ["onnx", "skops", "ubj", "txt", "safetensors"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, files: Files, kind: str, where: float) -> None:
    name, data = files[kind]
    at = int(where * len(data))
    # LightGBM ends with settings that nothing reads
    end = data.index(b"end of trees") if kind == "txt" else len(data)
    # An ONNX file that ends between two fields of the model is a whole file with fewer fields
    if at < end and kind != "onnx":
        (tmp_path / name).write_bytes(data[:at])
        assert outcome(tmp_path / name) is None
