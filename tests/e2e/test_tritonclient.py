"""NVIDIA's own HTTP client, unchanged, against ``sizewise up`` with a model of every format."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.e2e import real_models
from tests.e2e.real_models import Array
from tests.e2e.up import System, up

SPEC = """
models:
  mlp: {uri: mlp.onnx}
  identity: {uri: identity.onnx}
  bf16: {uri: bf16.onnx}
  sleeper: {uri: mlp.onnx}
  switch: {uri: mlp.onnx}
  counted: {uri: mlp.onnx}
  forest: {uri: forest.skops}
  xgb: {uri: xgb.ubj}
  lgbm: {uri: lgbm.txt}
  lengths: {uri: lengths.py}
"""
MODELS = ["bf16", "counted", "forest", "identity", "lengths", "lgbm", "mlp", "sleeper", "switch", "xgb"]
ROWS = np.random.default_rng(5).normal(size=(3, 16)).astype(np.float32)
Own = dict[str, Callable[[Array], dict[str, Array]]]


@dataclass(frozen=True)
class Fleet:
    system: System
    client: triton.InferenceServerClient
    own: Own
    """What each tabular model itself says about rows."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("models")
    real_models.write_mlp(folder / "mlp.onnx")
    real_models.write_identity(folder / "identity.onnx")
    real_models.write_identity(folder / "bf16.onnx", ["BF16"])
    own = {
        "forest": real_models.write_sklearn(folder / "forest.skops"),
        "xgb": real_models.write_xgboost(folder / "xgb.ubj"),
        "lgbm": real_models.write_lightgbm(folder / "lgbm.txt"),
    }
    (folder / "lengths.py").write_text(real_models.PYTHON_MODEL)
    with up(SPEC, folder) as system, triton.InferenceServerClient(system.address, concurrency=4) as client:
        yield Fleet(system, client, own)


def tensor(name: str, datatype: str, values: Array, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def rows(values: Array = ROWS, *, binary: bool = True) -> triton.InferInput:
    return tensor("x", "FP32", values, binary=binary)


def test_server(fleet: Fleet) -> None:
    assert fleet.client.is_server_live()
    assert fleet.client.is_server_ready()
    found = fleet.client.get_server_metadata()
    assert set(found) == {"name", "version", "extensions"}
    assert "binary_tensor_data" in found["extensions"]


def test_a_cold_model_is_ready_and_the_first_request_wakes_it(fleet: Fleet) -> None:
    assert fleet.system.model("sleeper")["state"] == "cold"
    assert fleet.client.is_model_ready("sleeper")
    answer = fleet.client.infer("sleeper", [rows()])
    assert answer.as_numpy("y").shape == (3, 3)
    assert fleet.system.until("sleeper", lambda seen: seen["state"] == "ready")["replicas"]["ready"] == 1


def test_model_metadata_and_version(fleet: Fleet) -> None:
    found = fleet.client.get_model_metadata("mlp")
    (version,) = found["versions"]
    assert found == {
        "name": "mlp",
        "versions": [version],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }
    assert fleet.client.is_model_ready("mlp", version)
    assert not fleet.client.is_model_ready("mlp", "another")
    assert fleet.client.get_model_metadata("mlp", version) == found
    answer = fleet.client.infer("mlp", [rows()], model_version=version)
    assert answer.get_response()["model_version"] == version
    with pytest.raises(InferenceServerException, match=f"model 'mlp' has version '{version}' and not 'another'"):
        fleet.client.infer("mlp", [rows()], model_version="another")


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])
def test_both_forms_in_both_directions_say_the_same(fleet: Fleet, binary_in: bool, binary_out: bool) -> None:
    wanted = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    answer = fleet.client.infer("mlp", [rows(binary=binary_in)], outputs=wanted, request_id="r-7")
    head = answer.get_response()
    assert (head["model_name"], head["id"]) == ("mlp", "r-7")
    assert ("data" in head["outputs"][0]) is not binary_out
    everything = fleet.client.infer("mlp", [rows()])
    assert np.array_equal(answer.as_numpy("y"), everything.as_numpy("y"))
    assert "id" not in everything.get_response()


def values_of(datatype: str) -> Array:
    """Edges of what it can hold, as rows of two."""
    if datatype == "BOOL":
        return np.array([[True, False], [False, True]])
    if datatype == "BYTES":
        return np.array([[b"", "grüße".encode()], [b"\x01 two", b"x" * 300]], object)
    dtype = np.dtype(triton_to_np_dtype(datatype))
    edges = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[edges.min, edges.max], [0, 1]], dtype)


def identity_inputs(*, binary: bool) -> list[triton.InferInput]:
    return [
        tensor(f"in_{each}", each, values_of(each), binary=binary or each == "FP16")
        for each in real_models.WITHOUT_BF16
    ]


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in where it exists"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out where it exists"])
def test_every_datatype_comes_back_as_it_went(fleet: Fleet, binary_in: bool, binary_out: bool) -> None:
    wanted = [
        triton.InferRequestedOutput(f"out_{each}", binary_data=binary_out or each == "FP16")
        for each in real_models.WITHOUT_BF16
    ]
    answer = fleet.client.infer("identity", identity_inputs(binary=binary_in), outputs=wanted)
    for each in real_models.WITHOUT_BF16:
        found, sent = answer.as_numpy(f"out_{each}"), values_of(each)
        if each == "BYTES" and not binary_out:
            sent = np.array([[one.decode() for one in row] for row in sent], object)
        assert found.shape == (2, 2), each
        assert found.tolist() == sent.tolist(), each


def test_bf16_comes_back_with_the_bits_it_has(fleet: Fleet) -> None:
    sent = np.array([[1.5, -2.0], [0.0, 3.0e38]], np.float32)
    answer = fleet.client.infer("bf16", [tensor("in_BF16", "BF16", sent)])
    sixteen_bits = (sent.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert answer.as_numpy("out_BF16").tolist() == sixteen_bits.tolist()
    with pytest.raises(InferenceServerException, match="BF16 has no JSON form"):
        fleet.client.infer(
            "bf16",
            [tensor("in_BF16", "BF16", sent)],
            outputs=[triton.InferRequestedOutput("out_BF16", binary_data=False)],
        )


def test_only_the_outputs_asked_for_in_that_order(fleet: Fleet) -> None:
    wanted = [triton.InferRequestedOutput(f"out_{each}", binary_data=each == "INT8") for each in ("UINT64", "INT8")]
    head = fleet.client.infer("identity", identity_inputs(binary=True), outputs=wanted).get_response()
    assert [each["name"] for each in head["outputs"]] == ["out_UINT64", "out_INT8"]
    assert head["outputs"][0]["data"] == [0, 2**64 - 1, 0, 1]
    assert head["outputs"][1]["parameters"] == {"binary_data_size": 4}


@pytest.mark.parametrize("name", ["forest", "xgb", "lgbm"])
def test_tabular_models(fleet: Fleet, name: str) -> None:
    found = fleet.client.get_model_metadata(name)
    (spec,) = found["inputs"]
    features = real_models.iris()[0][::50].astype(triton_to_np_dtype(spec["datatype"]))
    answer = fleet.client.infer(name, [tensor(spec["name"], spec["datatype"], features)])
    for output, expected in fleet.own[name](features).items():
        assert np.array_equal(answer.as_numpy(output), expected), output


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_a_python_model_over_texts(fleet: Fleet, binary: bool) -> None:
    texts = np.array([["one"], ["grüße"]], object)
    answer = fleet.client.infer("lengths", [tensor("text", "BYTES", texts, binary=binary)])
    assert answer.as_numpy("length").tolist() == [[3], [5]]
    assert [each.decode() for each in answer.as_numpy("upper").ravel()] == ["ONE", "GRÜSSE"]


def test_repository(fleet: Fleet) -> None:
    index = fleet.client.get_model_repository_index()
    assert [each["name"] for each in index] == MODELS
    assert {each["state"] for each in index} == {"READY"}
    fleet.client.load_model("switch")
    assert fleet.system.until("switch", lambda seen: seen["replicas"]["ready"])["replicas"]["ready"] == 1
    fleet.client.unload_model("switch")
    assert not fleet.client.is_model_ready("switch")
    index = fleet.client.get_model_repository_index()
    assert {each["name"]: each["state"] for each in index}["switch"] == "UNAVAILABLE"
    with pytest.raises(InferenceServerException) as refused:
        fleet.client.infer("switch", [rows()])
    assert refused.value.status() == "503"
    assert "by hand" in refused.value.message()
    fleet.client.load_model("switch")
    assert fleet.client.is_model_ready("switch")
    assert fleet.client.infer("switch", [rows()]).as_numpy("y").shape == (3, 3)


def test_statistics_count_what_was_asked(fleet: Fleet) -> None:
    for _ in range(4):
        fleet.client.infer("counted", [rows()])
    with pytest.raises(InferenceServerException):
        fleet.client.infer("counted", [rows(np.zeros((1, 2), np.float32))])
    (found,) = fleet.client.get_inference_statistics("counted")["model_stats"]
    assert (found["name"], found["inference_count"]) == ("counted", 12)
    assert found["inference_stats"]["success"]["count"] == 4
    asked, computed = found["inference_stats"]["success"], found["inference_stats"]["compute_infer"]
    assert asked["ns"] >= computed["ns"] > 0
    assert found["inference_stats"]["fail"]["count"] == 1
    assert 1 <= found["execution_count"] <= 4
    names = [each["name"] for each in fleet.client.get_inference_statistics()["model_stats"]]
    assert names == MODELS


def test_many_at_once(fleet: Fleet) -> None:
    waiting = [fleet.client.async_infer("mlp", [rows(ROWS + step)]) for step in range(40)]
    for step, each in enumerate(waiting):
        alone = fleet.client.infer("mlp", [rows(ROWS + step)])
        np.testing.assert_allclose(each.get_result().as_numpy("y"), alone.as_numpy("y"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "sent", "status", "words"),
    [
        pytest.param("none", [rows()], "404", "model 'none' is not deployed", id="unknown model"),
        pytest.param("mlp", [rows(ROWS[:, :4])], "400", r"has shape \[3, 4\]: .*\[-1, 16\]", id="shape"),
        pytest.param("mlp", [tensor("x", "FP64", ROWS.astype(float))], "400", "'x' is 'FP64': .*FP32", id="datatype"),
        pytest.param("mlp", [tensor("z", "FP32", ROWS)], "400", "unknown input 'z'.*'x'", id="unknown input"),
        pytest.param("mlp", [rows(), rows()], "400", "'x' is given twice", id="twice"),
        pytest.param("identity", [tensor("in_BOOL", "BOOL", ROWS > 0)], "400", "has shape", id="one of many"),
    ],
)
def test_what_cannot_be_answered_says_why(
    fleet: Fleet, model: str, sent: list[triton.InferInput], status: str, words: str
) -> None:
    with pytest.raises(InferenceServerException) as refused:
        fleet.client.infer(model, sent)
    assert refused.value.status() == status
    assert re.search(words, refused.value.message())
    with pytest.raises(InferenceServerException, match="unknown output 'nothing': this model gives 'y'"):
        fleet.client.infer("mlp", [rows()], outputs=[triton.InferRequestedOutput("nothing")])
