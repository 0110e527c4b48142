"""Small real models, written once by the libraries themselves."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sizewise.core.profiles import ModelFacts
from sizewise.formats import inspect

ROWS, FEATURES, CLASSES = 60, 4, 3

Inspect = Callable[[bytes, str], ModelFacts]


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    return np.random.default_rng(0).random((ROWS, FEATURES))


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    return np.arange(ROWS) % CLASSES


@pytest.fixture
def inspect_bytes(tmp_path: Path) -> Inspect:
    def inspect_it(data: bytes, name: str) -> ModelFacts:
        path = tmp_path / name
        path.write_bytes(data)
        return inspect(path)

    return inspect_it


@pytest.fixture(scope="session")
def onnx_bytes() -> bytes:
    """y = x @ w + b with a constant node."""
    from onnx import TensorProto, helper, numpy_helper

    w = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    b = numpy_helper.from_array(np.ones(3, np.float32), "b")
    two = helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.array(2, np.float32), "two"))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["z"]),
        two,
        helper.make_node("Mul", ["z", "two"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "g", [x], [y], [w, b])
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return data


@pytest.fixture(scope="session")
def forest(table: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(2, random_state=0).fit(table, labels)


@pytest.fixture(scope="session")
def skops_bytes(forest: Any) -> bytes:
    import skops.io

    data: bytes = skops.io.dumps(forest)
    return data


@pytest.fixture(scope="session")
def xgboost_model(table: np.ndarray, labels: np.ndarray) -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(table, labels)


@pytest.fixture(scope="session")
def ubj_bytes(xgboost_model: Any) -> bytes:
    return bytes(xgboost_model.get_booster().save_raw("ubj"))


@pytest.fixture(scope="session")
def xgboost_json_bytes(xgboost_model: Any) -> bytes:
    return bytes(xgboost_model.get_booster().save_raw("json"))


@pytest.fixture(scope="session")
def lightgbm_model(table: np.ndarray, labels: np.ndarray) -> Any:
    import lightgbm

    data = lightgbm.Dataset(table, labels)
    options = {"objective": "multiclass", "num_class": CLASSES, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 2}
    return lightgbm.train(options, data, 2)


@pytest.fixture(scope="session")
def lightgbm_bytes(lightgbm_model: Any) -> bytes:
    text: str = lightgbm_model.model_to_string()
    return text.encode()


@pytest.fixture(scope="session")
def safetensors_bytes() -> bytes:
    return safetensors({"w": ("F32", [2, 3]), "h": ("BF16", [4])})


def safetensors(tensors: dict[str, tuple[str, list[int]]], sizes: dict[str, int] | None = None) -> bytes:
    """A file of zeros; ``sizes`` overrules the bytes of a tensor."""
    widths = {"F32": 4, "BF16": 2, "I64": 8}
    header, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = (sizes or {}).get(name, int(np.prod(shape)) * widths.get(dtype, 1))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


def archive(members: dict[str, bytes], *, compress: bool = False) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return stream.getvalue()


def repack(data: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The same archive with its members changed."""
    with zipfile.ZipFile(BytesIO(data)) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    change(members)
    return archive(members)
