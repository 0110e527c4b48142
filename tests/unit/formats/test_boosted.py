"""XGBoost and LightGBM: what we read is what the libraries do."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from sizewise.formats import inspect
from sizewise.formats.xgboost_file import JSON_MAX_BYTES
from sizewise.protocols.errors import ModelFileError
from tests.unit.formats.conftest import CLASSES, FEATURES

OBJECTIVES = [
    pytest.param({"objective": "multi:softprob", "num_class": CLASSES}, "classes", id="softprob"),
    pytest.param({"objective": "multi:softmax", "num_class": CLASSES}, "classes", id="softmax"),
    pytest.param({"objective": "binary:logistic"}, "binary", id="binary"),
    pytest.param({"objective": "reg:squarederror"}, "number", id="number"),
    pytest.param({"objective": "reg:squarederror"}, "pair", id="two targets"),
    pytest.param({"objective": "reg:squarederror", "booster": "gblinear"}, "number", id="linear"),
    pytest.param({"objective": "reg:squarederror", "booster": "dart"}, "number", id="dart"),
    pytest.param(
        {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"}, "pair", id="trees of vectors"
    ),
]


def target(kind: str, table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return {"classes": labels, "binary": labels > 0, "number": table[:, 0], "pair": table[:, :2]}[kind]


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize(("options", "kind"), OBJECTIVES)
def test_xgboost(
    tmp_path: Path, table: np.ndarray, labels: np.ndarray, suffix: str, options: dict[str, Any], kind: str
) -> None:
    data = xgboost.DMatrix(table, target(kind, table, labels))
    booster = xgboost.train({"nthread": 1, **options}, data, 2)
    path = tmp_path / f"m.{suffix}"
    booster.save_model(path)
    facts = inspect(path)
    assert (facts.platform, facts.runtime) == (f"xgboost_{suffix}", "xgboost")
    assert facts.inputs[0].shape == (-1, booster.num_features())
    assert facts.outputs[0].accepts(booster.predict(data).shape)
    if options.get("booster") != "gblinear":
        nodes = sum(dump.count("leaf=") + dump.count("yes=") for dump in booster.get_dump())
        assert (facts.parameters or 0) >= nodes * 4


def test_both_xgboost_formats_weigh_the_same(tmp_path: Path, ubj_bytes: bytes, xgboost_json_bytes: bytes) -> None:
    (tmp_path / "m.ubj").write_bytes(ubj_bytes)
    (tmp_path / "m.json").write_bytes(xgboost_json_bytes)
    one, other = inspect(tmp_path / "m.ubj"), inspect(tmp_path / "m.json")
    assert one.weight_bytes == other.weight_bytes
    assert (one.inputs, one.outputs) == (other.inputs, other.outputs)


def test_large_json_is_read_at_its_end(tmp_path: Path, xgboost_json_bytes: bytes) -> None:
    path = tmp_path / "m.json"
    padding = b" " * JSON_MAX_BYTES
    path.write_bytes(xgboost_json_bytes.replace(b'"trees":[', b'"trees":[' + padding, 1))
    facts = inspect(path)
    assert facts.parameters is None
    assert facts.inputs[0].shape == (-1, FEATURES)
    assert facts.outputs[0].shape == (-1, CLASSES)
    assert facts.weights_bytes == facts.disk_bytes


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        pytest.param({"objective": "multiclass", "num_class": CLASSES}, "classes", id="classes"),
        pytest.param({"objective": "multiclassova", "num_class": CLASSES}, "classes", id="one against all"),
        pytest.param({"objective": "binary"}, "binary", id="binary"),
        pytest.param({"objective": "regression"}, "number", id="number"),
    ],
)
def test_lightgbm(tmp_path: Path, table: np.ndarray, labels: np.ndarray, options: dict[str, Any], kind: str) -> None:
    settings = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 2, **options}
    booster = lightgbm.train(settings, lightgbm.Dataset(table, target(kind, table, labels)), 3)
    path = tmp_path / "m.txt"
    booster.save_model(path)
    facts = inspect(path)
    assert (facts.platform, facts.runtime) == ("lightgbm_text", "lightgbm")
    assert facts.inputs[0].shape == (-1, booster.num_feature())
    assert facts.outputs[0].accepts(np.asarray(booster.predict(table)).shape)
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])
    trees = booster.num_trees()
    assert facts.parameters == leaves * 4 + (leaves - trees) * 11


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_lightgbm_with_its_settings_cut_off_is_refused(tmp_path: Path, lightgbm_bytes: bytes, share: float) -> None:
    start = lightgbm_bytes.index(b"\nparameters:") + len(b"\nparameters:")
    end = lightgbm_bytes.index(b"\nend of parameters")
    path = tmp_path / "m.txt"
    path.write_bytes(lightgbm_bytes[: start + int((end - start) * share)])
    with pytest.raises(ModelFileError, match="parameters do not end"):
        inspect(path)
