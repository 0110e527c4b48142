"""Answers of the running system equal the model's own: bit for bit alone, closely when others share the batch."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.http as triton
from onnx import TensorProto, helper, numpy_helper

from sizewise.protocols.errors import ModelFileError
from sizewise.runtimes import ModelFiles
from sizewise.runtimes.onnx_model import RUNTIME, session_options
from tests.e2e import real_models
from tests.e2e.real_models import Array
from tests.e2e.up import System, up

SPEC = """
models:
  mlp: {uri: mlp.onnx, scaling: {min_replicas: 1, max_replicas: 1}}
  lengths: {uri: lengths.onnx, scaling: {max_replicas: 1}}
  crowd: {uri: mlp.onnx, scaling: {max_replicas: 1}}
"""
BATCHES = (1, 2, 3, 7, 8, 16, 33, 64)
CLIENTS, REQUESTS = 8, 40


def write_any_length(path: Path) -> None:
    """``x`` [-1, -1, 8] to ``y``: a matrix product and a softmax over whatever length comes."""
    weights = np.random.default_rng(3).normal(size=(8, 5)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Softmax", ["h"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "any_length",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "length", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "length", 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


@dataclass(frozen=True)
class Served:
    system: System
    own: dict[str, Any]
    """Sessions of ONNX Runtime in this process, with the options that a replica sets."""

    def infer(self, client: triton.InferenceServerClient, model: str, rows: Array) -> Array:
        tensor = triton.InferInput("x", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        found: Array = client.infer(model, [tensor]).as_numpy("y")
        return found

    def expected(self, model: str, rows: Array) -> Array:
        found: Array = self.own[model].run(["y"], {"x": rows})[0]
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models")
    own = {}
    for name, write in (("mlp", real_models.write_mlp), ("lengths", write_any_length)):
        alone = folder / f"{name}-alone"
        alone.mkdir()
        write(alone / f"{name}.onnx")
        (folder / f"{name}.onnx").write_bytes((alone / f"{name}.onnx").read_bytes())
        options = session_options(ModelFiles(path=alone, entry=f"{name}.onnx"))
        file = str(alone / f"{name}.onnx")
        own[name] = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    with up(SPEC, folder) as system:
        yield Served(system, own)


@pytest.fixture
def client(served: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.system.address) as made:
        yield made


@pytest.mark.parametrize("rows", BATCHES)
def test_equal_bits_for_the_same_batch(served: Served, client: triton.InferenceServerClient, rows: int) -> None:
    values = np.random.default_rng(rows).normal(size=(rows, 16)).astype(np.float32)
    found = served.infer(client, "mlp", values)
    assert found.tobytes() == served.expected("mlp", values).tobytes()


def test_equal_bits_through_json(served: Served) -> None:
    values = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    body = {"inputs": [{"name": "x", "shape": [4, 16], "datatype": "FP32", "data": values.tolist()}]}
    (output,) = served.system.http.post("/v2/models/mlp/infer", json=body).json()["outputs"]
    found = np.array(output["data"], np.float32).reshape(output["shape"])
    assert found.tobytes() == served.expected("mlp", values).tobytes()


def test_batch_sizes_agree_closely(served: Served, client: triton.InferenceServerClient) -> None:
    values = np.random.default_rng(1).normal(size=(64, 16)).astype(np.float32)
    whole = served.infer(client, "mlp", values)
    for size in (1, 5, 32):
        parts = [served.infer(client, "mlp", values[start : start + size]) for start in range(0, 64, size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", ["mlp", "lengths"])
def test_clients_of_mixed_shapes_each_get_their_own_answer(served: Served, model: str) -> None:
    """One replica, so requests share batches where their shapes allow it; the counters show that they did."""
    together = threading.Barrier(CLIENTS)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        with triton.InferenceServerClient(served.system.address) as client:
            together.wait(100)
            for _ in range(REQUESTS):
                rows, length = int(random.integers(1, 6)), int(random.integers(1, 4))
                shape = (rows, 16) if model == "mlp" else (rows, length, 8)
                values = random.normal(size=shape).astype(np.float32)
                found = served.infer(client, model, values)
                np.testing.assert_allclose(found, served.expected(model, values), rtol=1e-5, atol=1e-6)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(work, seed) for seed in range(CLIENTS)]:
            done.result(200)
    (counted,) = served.system.http.get(f"/v2/models/{model}/stats").json()["model_stats"]
    asked = counted["inference_stats"]["success"]["count"]
    assert asked >= CLIENTS * REQUESTS
    assert counted["execution_count"] < asked, "some were computed together"


def test_clients_that_wake_a_model_together_are_all_answered(served: Served) -> None:
    assert served.system.model("crowd")["state"] == "cold"
    together = threading.Barrier(CLIENTS)

    def work(seed: int) -> None:
        values = np.random.default_rng(seed).normal(size=(2, 16)).astype(np.float32)
        with triton.InferenceServerClient(served.system.address) as client:
            together.wait(100)
            found = served.infer(client, "crowd", values)
        np.testing.assert_allclose(found, served.expected("mlp", values), rtol=1e-5, atol=1e-6)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(work, seed) for seed in range(CLIENTS)]:
            done.result(200)
    # What status says may be a moment old
    seen = served.system.until("crowd", lambda model: model["requests_total"] >= CLIENTS)
    assert (seen["requests_total"], seen["errors_total"], seen["cold_starts_total"]) == (CLIENTS, 0, 1)


def test_a_model_that_cannot_be_called_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    real_models.write_identity(tmp_path / "both.onnx", ["BF16", "BYTES"])
    with pytest.raises(ModelFileError, match=r"has both BF16 and text tensors.*: cast the BF16 ones"):
        RUNTIME.load(ModelFiles(path=tmp_path, entry="both.onnx"))
