"""Small real models of every format, with what their own libraries say about the same rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from sizewise.demo.onnx_files import write_random_mlp

Array = np.ndarray[Any, Any]
MLP_SIZES = (16, 32, 3)
DATATYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
"""Of the Open Inference Protocol, with ONNX' own numbers."""
WITHOUT_BF16 = tuple(each for each in DATATYPES if each != "BF16")
"""ONNX Runtime takes BF16 and text, but not in one call."""
PYTHON_MODEL = '''\
"""Says how long each text is."""

import numpy as np

INPUTS = [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}]
OUTPUTS = [
    {"name": "length", "datatype": "INT64", "shape": [-1, 1]},
    {"name": "upper", "datatype": "BYTES", "shape": [-1, 1]},
]


def load():
    return len


def predict(model, inputs):
    texts = [[each.decode() for each in row] for row in inputs["text"]]
    return {
        "length": np.array([[model(each) for each in row] for row in texts], np.int64),
        "upper": np.array([[each.upper().encode() for each in row] for row in texts], object),
    }
'''


def write_identity(path: Path, datatypes: Sequence[str] = WITHOUT_BF16) -> None:
    """For each datatype an input ``in_T`` [-1, 2] and the same as output ``out_T``."""
    rows: list[str | int | None] = ["rows", 2]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in datatypes],
        "identity",
        [helper.make_tensor_value_info(f"in_{name}", DATATYPES[name], rows) for name in datatypes],
        [helper.make_tensor_value_info(f"out_{name}", DATATYPES[name], rows) for name in datatypes],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def write_mlp(path: Path) -> None:
    """``x`` [-1, 16] to ``y`` [-1, 3]."""
    write_random_mlp(path, MLP_SIZES, seed=1)


def iris() -> tuple[Array, Array]:
    from sklearn.datasets import load_iris

    features, labels = load_iris(return_X_y=True)
    return features, labels


def write_sklearn(path: Path) -> Callable[[Array], dict[str, Array]]:
    """Returns what the model itself says about rows."""
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(12, random_state=0).fit(*iris())
    skops.io.dump(forest, path)
    return lambda rows: {"predict": forest.predict(rows), "predict_proba": forest.predict_proba(rows)}


def write_xgboost(path: Path) -> Callable[[Array], dict[str, Array]]:
    import xgboost

    features, labels = iris()
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(features, label=labels), 10)
    booster.save_model(str(path))
    return lambda rows: {"predict": booster.predict(xgboost.DMatrix(rows))}


def write_lightgbm(path: Path) -> Callable[[Array], dict[str, Array]]:
    import lightgbm

    features, labels = iris()
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lightgbm.train(settings, lightgbm.Dataset(features, label=labels), 10)
    booster.save_model(str(path))
    return lambda rows: {"predict": np.asarray(booster.predict(rows, num_threads=1))}
