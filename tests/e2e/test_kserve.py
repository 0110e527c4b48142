"""KServe's own REST client, unchanged, against ``sizewise up``: its v1 and its v2."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e import real_models
from tests.e2e.up import System, up
from tests.repo.paths import ROOT

pytestmark = pytest.mark.heavy

PYTHON = ROOT / ".venv-kserve" / "bin" / "python"
CALLS = Path(__file__).with_name("kserve_calls.py")
SPEC = """
models:
  mlp: {uri: mlp.onnx}
  forest: {uri: forest.skops}
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("models")
    real_models.write_mlp(folder / "mlp.onnx")
    real_models.write_sklearn(folder / "forest.skops")
    with up(SPEC, folder) as running:
        yield running


@pytest.fixture(scope="module")
def found(system: System) -> Any:
    run = subprocess.run([PYTHON, CALLS, system.url], capture_output=True, text=True, check=False, timeout=55)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def expected(system: System) -> list[list[float]]:
    rows = [[0.25 * column + row for column in range(16)] for row in range(3)]
    body = {"inputs": [{"name": "x", "shape": [3, 16], "datatype": "FP32", "data": rows}]}
    answer = system.http.post("/v2/models/mlp/infer", json=body).json()
    values: list[list[float]] = np.reshape(answer["outputs"][0]["data"], (3, 3)).tolist()
    return values


def test_v1(found: Any, expected: list[list[float]]) -> None:
    v1 = found["v1"]
    assert (v1["live"], v1["ready"]) == (True, True)
    np.testing.assert_allclose(v1["mlp"]["predictions"], expected, rtol=1e-5, atol=1e-6)
    assert v1["forest"] == {"predictions": [0]}
    assert "has shape [1, 1]" in v1["refused"]
    assert "400 Bad Request" in v1["refused"]
    assert "404 Not Found" in v1["unknown"]


def test_v2(found: Any, expected: list[list[float]]) -> None:
    v2 = found["v2"]
    assert (v2["live"], v2["ready"], v2["model"], v2["no model"]) == (True, True, True, False)
    for form in ("JSON", "binary", "dict"):
        values = v2[form].pop("values")
        assert v2[form] == {"id": "k-1", "model": "mlp", "name": "y", "datatype": "FP32"}, form
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert "400 Bad Request" in v2["refused"]
