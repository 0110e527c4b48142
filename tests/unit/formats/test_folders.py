"""Folders, and the formats that other tests do not compare with a library."""

import json
from pathlib import Path

import pytest

from sizewise.core.tensors import TensorSpec
from sizewise.formats import inspect
from sizewise.protocols.errors import ModelFileError
from tests.unit.formats.conftest import Inspect, safetensors
from tests.unit.formats.test_onnx import external

PYTHON = b"""
INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
OUTPUTS: list = [{"name": "y", "datatype": "INT64", "shape": (-1,)}]
def load(): return 1
def predict(model, inputs): return inputs
"""


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_side_files_weigh(tmp_path: Path) -> None:
    external(tmp_path)
    fill(tmp_path, {"tokenizer.json": b"{}" * 50, "vocab/words.txt": b"a\nb\n", ".git/objects/x": bytes(1000)})
    facts = inspect(tmp_path)
    assert facts.entry == "m.onnx"
    assert facts.files == ("m.onnx", "tokenizer.json", "vocab/words.txt", "w.bin")
    assert facts.disk_bytes == sum((tmp_path / name).stat().st_size for name in facts.files)


@pytest.mark.parametrize(
    ("names", "entry"),
    [
        pytest.param(("model.onnx", "config.json", "notes.md"), "model.onnx", id="one model and other files"),
        pytest.param(("model.onnx", "encoder.pkl"), "model.onnx", id="a pickle beside it is a side file"),
        pytest.param(("model.onnx", "w.safetensors"), "model.onnx", id="what can be served comes first"),
        pytest.param(("model.onnx", "model.py", "helper.py"), "model.py", id="a Python model may load the others"),
        pytest.param(("model.onnx", "config.json", "w.safetensors"), "model.onnx", id="served before Hugging Face"),
        pytest.param(("w.safetensors",), "w.safetensors", id="weights alone"),
        pytest.param(("w.safetensors", "config.json"), "config.json", id="Hugging Face"),
        pytest.param(("model.onnx", "empty.txt"), "model.onnx", id="an empty file beside it"),
    ],
)
def test_the_model_of_a_folder(tmp_path: Path, onnx_bytes: bytes, names: tuple[str, ...], entry: str) -> None:
    contents = {
        ".onnx": onnx_bytes,
        ".pkl": b"\x80\x04N.",
        ".safetensors": safetensors({"w": ("F32", [2])}),
        ".py": PYTHON,
        ".json": b'{"model_type": "bert"}',
        ".md": b"# notes",
        ".txt": b"",
    }
    fill(tmp_path, {name: contents[Path(name).suffix] for name in names})
    if "helper.py" in names:
        (tmp_path / "helper.py").write_text("def clean(): ...")
    assert inspect(tmp_path).entry == entry


@pytest.mark.parametrize(
    ("names", "says"),
    [
        pytest.param(("a.onnx", "b.onnx"), "several models: a.onnx, b.onnx", id="two models"),
        pytest.param(("a.py", "b.py"), "several models: a.py, b.py", id="two Python models"),
        pytest.param(("m.pkl",), "holds 'm.pkl', which is a pickle", id="a pickle alone"),
        pytest.param(("notes.md",), "no file in a format", id="no model"),
        pytest.param((), "empty folder", id="empty"),
    ],
)
def test_folders_that_are_no_model(tmp_path: Path, onnx_bytes: bytes, names: tuple[str, ...], says: str) -> None:
    contents = {".onnx": onnx_bytes, ".py": PYTHON, ".pkl": b"\x80\x04N.", ".md": b"# notes"}
    fill(tmp_path, {name: contents[Path(name).suffix] for name in names})
    with pytest.raises(ModelFileError, match=says):
        inspect(tmp_path)


def shards(folder: Path, *, index: dict[str, str]) -> Path:
    return fill(
        folder,
        {
            "config.json": b'{"model_type": "llama"}',
            "a.safetensors": safetensors({"x": ("BF16", [10, 10])}),
            "b.safetensors": safetensors({"y": ("F32", [5])}),
            "model.safetensors.index.json": json.dumps({"weight_map": index}).encode(),
            "tokenizer.json": bytes(300),
        },
    )


def test_hugging_face(tmp_path: Path) -> None:
    facts = inspect(shards(tmp_path, index={"x": "a.safetensors", "y": "b.safetensors"}))
    assert (facts.format, facts.runtime, facts.entry) == ("huggingface", None, "config.json")
    assert facts.parameters == 105
    assert facts.weight_bytes == (("BF16", 200), ("FP32", 20))
    assert facts.disk_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"lacks the shard 'c.safetensors'"):
        inspect(shards(tmp_path, index={"x": "a.safetensors", "z": "c.safetensors"}))


def test_safetensors(inspect_bytes: Inspect) -> None:
    facts = inspect_bytes(safetensors({"a": ("F32", [2, 3]), "b": ("I64", []), "c": ("F32", [0])}), "m.safetensors")
    assert (facts.platform, facts.runtime, facts.parameters) == ("safetensors", None, 7)
    assert facts.weight_bytes == (("FP32", 24), ("INT64", 8))


@pytest.mark.parametrize(
    ("more", "batchable"),
    [
        pytest.param(b"", True, id="free first dimension"),
        pytest.param(b"BATCHABLE = False", False, id="said not to be"),
        pytest.param(b"INPUTS = [{'name': 'x', 'datatype': 'BYTES', 'shape': [1]}]", False, id="fixed"),
        pytest.param(b"INPUTS = []", False, id="nothing declared"),
    ],
)
def test_python(inspect_bytes: Inspect, more: bytes, batchable: bool) -> None:
    facts = inspect_bytes(PYTHON + more, "m.py")
    assert (facts.platform, facts.runtime) == ("python_module", "python")
    assert facts.outputs == (TensorSpec(name="y", datatype="INT64", shape=(-1,)),)
    assert facts.batchable is batchable


def test_content_decides_and_not_the_name(
    inspect_bytes: Inspect, onnx_bytes: bytes, skops_bytes: bytes, ubj_bytes: bytes, lightgbm_bytes: bytes
) -> None:
    found = [inspect_bytes(data, "model") for data in (onnx_bytes, skops_bytes, ubj_bytes, lightgbm_bytes)]
    assert [facts.runtime for facts in found] == ["onnx", "sklearn", "xgboost", "lightgbm"]
