"""KServe v1 and SageMaker, spoken by plain HTTP clients to ``sizewise up``."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests.e2e import real_models
from tests.e2e.real_models import Array
from tests.e2e.up import System, up

SEVERAL = """
models:
  mlp: {uri: mlp.onnx}
  forest: {uri: forest.skops}
  echo:
    command: [PYTHON, -m, http.server, --bind, 127.0.0.1, "{port}"]
"""
ROWS = np.random.default_rng(5).normal(size=(3, 16)).astype(np.float32)
TARGET = "X-Amzn-SageMaker-Target-Model"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("several")
    real_models.write_mlp(folder / "mlp.onnx")
    real_models.write_sklearn(folder / "forest.skops")
    with up(SEVERAL.replace("PYTHON", sys.executable), folder) as system:
        yield system


def v2(system: System, rows: Array) -> Array:
    body = {"inputs": [{"name": "x", "shape": list(rows.shape), "datatype": "FP32", "data": rows.tolist()}]}
    answer = system.http.post("/v2/models/mlp/infer", json=body).json()
    return np.reshape(answer["outputs"][0]["data"], answer["outputs"][0]["shape"])


def test_v1_predict_equals_v2(several: System) -> None:
    answer = several.http.post("/v1/models/mlp:predict", json={"instances": ROWS.tolist()})
    assert (answer.status_code, set(answer.json())) == (200, {"predictions"})
    assert np.array_equal(answer.json()["predictions"], v2(several, ROWS))
    named = several.http.post("/v1/models/mlp:predict", json={"instances": [{"x": row} for row in ROWS.tolist()]})
    assert named.json() == answer.json()


def test_v1_says_what_a_classifier_predicts(several: System) -> None:
    features, labels = real_models.iris()
    answer = several.http.post("/v1/models/forest:predict", json={"instances": features[::50].tolist()})
    assert answer.json() == {"predictions": labels[::50].tolist()}


def test_v1_lists_models_and_says_which_are_ready(several: System) -> None:
    assert several.http.get("/v1/models").json() == {"models": ["echo", "forest", "mlp"]}
    assert several.http.get("/v1/models/mlp").json() == {"name": "mlp", "ready": True}
    assert several.http.get("/").json() == {"status": "alive"}
    assert several.http.get("/v1/models/none").status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param({"rows": []}, 'neither "instances" nor "inputs"', id="no instances"),
        pytest.param({"instances": []}, "at least one row", id="empty"),
        pytest.param({"instances": [[1.0] * 16, [1.0] * 15]}, "15 elements", id="ragged"),
        pytest.param({"instances": [{"z": [1.0] * 16}]}, "unknown input 'z'", id="unknown input"),
        pytest.param({"instances": [["a"] * 16]}, "not FP32", id="text"),
    ],
)
def test_v1_refusals(several: System, body: object, words: str) -> None:
    answer = several.http.post("/v1/models/mlp:predict", json=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert words in answer.json()["error"]


def test_invocations_of_several_models_need_the_header(several: System) -> None:
    assert several.http.get("/ping").status_code == 200
    body = {"instances": ROWS.tolist()}
    unnamed = several.http.post("/invocations", json=body)
    assert unnamed.status_code == 400
    assert unnamed.json() == {"error": "2 models are deployed: name one in the header X-Amzn-SageMaker-Target-Model"}
    named = several.http.post("/invocations", json=body, headers={TARGET: "mlp"})
    assert np.array_equal(named.json()["predictions"], v2(several, ROWS))
    assert several.http.post("/invocations", json=body, headers={TARGET: "none"}).status_code == 404
    assert several.http.get("/invocations").status_code == 405
    command = several.http.post("/invocations", json=body, headers={TARGET: "echo"})
    assert (command.status_code, "speaks its own protocol" in command.json()["error"]) == (400, True)


def test_invocations_take_tables_as_csv(several: System) -> None:
    features, labels = real_models.iris()
    text = "\n".join(",".join(map(str, row)) for row in features[::50])
    headers = {TARGET: "forest", "Content-Type": "text/csv"}
    answer = several.http.post("/invocations", content=text, headers=headers)
    assert answer.json() == {"predictions": labels[::50].tolist()}
    broken = several.http.post("/invocations", content="1,2,x,4", headers=headers)
    assert (broken.status_code, "line 1" in broken.json()["error"]) == (400, True)


def test_invocations_of_a_single_model_need_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("single")
    real_models.write_mlp(folder / "mlp.onnx")
    with up("models:\n  mlp: {uri: mlp.onnx}\n", folder) as system:
        assert system.http.get("/ping").status_code == 200
        answer = system.http.post("/invocations", json={"instances": ROWS.tolist()})
        assert np.array_equal(answer.json()["predictions"], v2(system, ROWS))
