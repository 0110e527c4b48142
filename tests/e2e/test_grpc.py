"""The Open Inference Protocol over gRPC: NVIDIA's own client, and gRPC itself, against ``sizewise up``."""

import contextlib
import hashlib
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from sizewise.core.units import MIB
from sizewise.grpc_gateway.messages import HealthCheckRequest, HealthCheckResponse, RetryInfo, Status
from tests.e2e import certificates, real_models
from tests.e2e.up import System, sizewise, up

SPEC = """
models:
  mlp: {uri: mlp.onnx, scaling: {min_replicas: 1}}
  sleeper: {uri: mlp.onnx}
  identity: {uri: identity.onnx}
  bf16: {uri: bf16.onnx}
  typed: {uri: typed.onnx}
  refused: {uri: mlp.onnx, hold_s: 0}
  slow: {uri: slow.py}
"""
SERVING = "\nserving: {port: 0, admin_port: 0, grpc_port: 0}\n"
SLOW = """
import time

INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]
OUTPUTS = [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}]


def load():
    return None


def predict(model, inputs):
    time.sleep(float(inputs["x"].max()))
    return {"y": inputs["x"]}
"""
TYPED: dict[str, tuple[str, list[Any], bytes]] = {
    "BOOL": ("bool_contents", [True, False], b"\1\0"),
    "INT8": ("int_contents", [-128, 127], struct.pack("<2b", -128, 127)),
    "INT16": ("int_contents", [-1, 2], struct.pack("<2h", -1, 2)),
    "INT32": ("int_contents", [-1, 2], struct.pack("<2i", -1, 2)),
    "INT64": ("int64_contents", [-1, 1 << 60], struct.pack("<2q", -1, 1 << 60)),
    "UINT8": ("uint_contents", [0, 255], b"\0\xff"),
    "UINT16": ("uint_contents", [0, 65535], struct.pack("<2H", 0, 65535)),
    "UINT32": ("uint_contents", [0, 1], struct.pack("<2I", 0, 1)),
    "UINT64": ("uint64_contents", [0, 1 << 63], struct.pack("<2Q", 0, 1 << 63)),
    "FP32": ("fp32_contents", [0.5, -1.0], struct.pack("<2f", 0.5, -1)),
    "FP64": ("fp64_contents", [0.1, -1.0], struct.pack("<2d", 0.1, -1)),
    "BYTES": ("bytes_contents", [b"a", b"bc"], b"\1\0\0\0a\2\0\0\0bc"),
}
ROWS = np.random.default_rng(5).normal(size=(3, 16)).astype(np.float32)


@dataclass(frozen=True)
class Fleet:
    system: System
    address: str
    client: triton.InferenceServerClient
    stub: Any


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("models")
    real_models.write_mlp(folder / "mlp.onnx")
    real_models.write_identity(folder / "identity.onnx")
    real_models.write_identity(folder / "bf16.onnx", ["BF16"])
    real_models.write_identity(folder / "typed.onnx", list(TYPED))
    (folder / "slow.py").write_text(SLOW)
    with up(SPEC, folder, serving=SERVING) as system:
        address = system.started["grpc_address"]
        with triton.InferenceServerClient(address) as client, grpc.insecure_channel(address) as channel:
            system.until("mlp", lambda seen: seen["replicas"]["ready"] == 1)
            yield Fleet(system, address, client, service_pb2_grpc.GRPCInferenceServiceStub(channel))


def tensor(name: str, datatype: str, values: Any) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def test_what_the_server_says_is_what_http_says(fleet: Fleet) -> None:
    client, http = fleet.client, fleet.system.http
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mlp")
    version = fleet.system.model("mlp")["version"]
    assert client.is_model_ready("mlp", version)
    assert client.get_server_metadata(as_json=True) == http.get("/v2").json()
    said = client.get_model_metadata("identity", as_json=True)
    expected = http.get("/v2/models/identity").json()
    assert [entry["name"] for entry in said["inputs"]] == [entry["name"] for entry in expected["inputs"]]
    assert said["platform"] == expected["platform"]
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {entry["name"] for entry in index} == {"bf16", "identity", "mlp", "refused", "sleeper", "slow", "typed"}
    assert client.get_inference_statistics("mlp").model_stats[0].name == "mlp"


def test_inference_gives_what_http_gives(fleet: Fleet) -> None:
    answer = fleet.client.infer("mlp", [tensor("x", "FP32", ROWS)], request_id="seven")
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3, 16], "data": ROWS.reshape(-1).tolist()}]}
    expected = fleet.system.http.post("/v2/models/mlp/infer", json=body).json()["outputs"][0]["data"]
    np.testing.assert_allclose(answer.as_numpy("y").reshape(-1), expected, rtol=1e-5)
    assert answer.get_response().id == "seven"


def test_a_request_wakes_a_cold_model(fleet: Fleet) -> None:
    assert fleet.client.is_model_ready("sleeper")
    assert fleet.client.infer("sleeper", [tensor("x", "FP32", ROWS)]).as_numpy("y").shape == (3, 3)


def test_load_and_unload(fleet: Fleet) -> None:
    fleet.client.load_model("sleeper")
    fleet.client.unload_model("sleeper")
    assert not fleet.client.is_model_ready("sleeper")
    fleet.client.load_model("sleeper")
    assert fleet.client.is_model_ready("sleeper")


def test_typed_contents_of_every_datatype(fleet: Fleet) -> None:
    request = service_pb2.ModelInferRequest(model_name="typed")
    for datatype, (field, values, _) in TYPED.items():
        entry = request.inputs.add(name=f"in_{datatype}", datatype=datatype, shape=[1, 2])
        getattr(entry.contents, field).extend(values)
    answer = fleet.stub.ModelInfer(request)
    raw = {output.datatype: part for output, part in zip(answer.outputs, answer.raw_output_contents, strict=True)}
    assert raw == {datatype: expected for datatype, (_, _, expected) in TYPED.items()}


def test_bf16_passes_as_raw_bytes(fleet: Fleet) -> None:
    request = service_pb2.ModelInferRequest(model_name="bf16", raw_input_contents=[b"\x80\x3f\0\x40"])
    request.inputs.add(name="in_BF16", datatype="BF16", shape=[1, 2])
    assert list(fleet.stub.ModelInfer(request).raw_output_contents) == [b"\x80\x3f\0\x40"]


def infer(model: str = "mlp", **fields: Any) -> service_pb2.ModelInferRequest:
    """A good request, or one with something changed."""
    given: dict[str, Any] = {"shape": [3, 16], "datatype": "FP32", "name": "x", "raw": [ROWS.tobytes()], **fields}
    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=given["raw"])
    request.model_version = fields.get("version", "")
    entry = request.inputs.add(name=given["name"], datatype=given["datatype"], shape=given["shape"])
    if "contents" in fields:
        entry.contents.fp32_contents.extend(fields["contents"])
    return request


@pytest.mark.parametrize(
    ("request_message", "code", "words"),
    [
        pytest.param(infer("none"), "NOT_FOUND", "'none' is not deployed", id="model"),
        pytest.param(infer("../../etc"), "NOT_FOUND", "not deployed", id="a path in a name"),
        pytest.param(infer("a\r\nX: y"), "NOT_FOUND", "not deployed", id="a header in a name"),
        pytest.param(infer(version="7"), "NOT_FOUND", "has version", id="version"),
        pytest.param(infer(shape=[1, 16]), "INVALID_ARGUMENT", "192 bytes", id="shape and bytes differ"),
        pytest.param(infer(shape=[3, -16]), "INVALID_ARGUMENT", "whole numbers", id="negative dimension"),
        pytest.param(infer(shape=[1 << 62, 16]), "INVALID_ARGUMENT", "192 bytes", id="huge dimension"),
        pytest.param(infer(datatype="FP128"), "INVALID_ARGUMENT", "not one of", id="datatype"),
        pytest.param(infer(name="z"), "INVALID_ARGUMENT", "unknown input", id="input"),
        pytest.param(infer(raw=[]), "INVALID_ARGUMENT", "0 bytes", id="no contents"),
        pytest.param(infer(raw=[b"", b""]), "INVALID_ARGUMENT", "send one for each", id="two raw contents"),
        pytest.param(infer(contents=[1.0]), "INVALID_ARGUMENT", "in one form", id="typed and raw"),
        pytest.param(infer("refused"), "UNAVAILABLE", "is waking", id="cold, and not held"),
        pytest.param(service_pb2.ModelInferRequest(), "NOT_FOUND", "", id="empty"),
    ],
)
def test_errors(fleet: Fleet, request_message: service_pb2.ModelInferRequest, code: str, words: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        fleet.stub.ModelInfer(request_message)
    assert refused.value.code().name == code, refused.value.details()
    assert words in refused.value.details()
    assert "\n" not in refused.value.details()
    if code == "UNAVAILABLE":
        trailing = dict(refused.value.trailing_metadata())
        status = Status.FromString(trailing["grpc-status-details-bin"])
        delay = RetryInfo.FromString(status.details[0].value)
        assert delay.retry_delay.seconds >= 1
        assert int(trailing["grpc-retry-pushback-ms"]) == 1000 * delay.retry_delay.seconds


def test_the_clients_deadline_is_the_requests(fleet: Fleet) -> None:
    fleet.client.infer("slow", [tensor("x", "FP32", np.zeros((1, 1), np.float32))])
    with pytest.raises(InferenceServerException, match=r"(?i)deadline"):
        fleet.client.infer("slow", [tensor("x", "FP32", np.full((1, 1), 3, np.float32))], client_timeout=0.3)
    # It freed its place: what comes next waits for the call that cannot be interrupted, and no longer
    fleet.client.infer("slow", [tensor("x", "FP32", np.zeros((1, 1), np.float32))], client_timeout=20)


def test_a_message_over_the_limit(fleet: Fleet) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(fleet.address, options=options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(infer(raw=[bytes(258 * MIB)]))
    assert refused.value.code().name == "RESOURCE_EXHAUSTED"
    front = psutil.Process(fleet.system.pid("grpc"))
    assert front.memory_info().rss < 200 * MIB


def test_many_calls_at_once_on_one_connection_wait_for_their_turn(fleet: Fleet) -> None:
    calls = [fleet.stub.ModelInfer.future(infer(), timeout=30) for _ in range(600)]
    for call in calls[::3]:
        call.cancel()
    assert {repr(call.exception(30)) for at, call in enumerate(calls) if at % 3} == {"None"}


def health(channel: grpc.Channel, service: str = "") -> Any:
    ask = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    return ask(HealthCheckRequest(service=service))


def test_health(fleet: Fleet) -> None:
    with grpc.insecure_channel(fleet.address) as channel:
        assert health(channel).status == 1
        assert health(channel, "inference.GRPCInferenceService").status == 1
        with pytest.raises(grpc.RpcError) as refused:
            health(channel, "nobody")
        assert refused.value.code().name == "NOT_FOUND"


def test_it_is_started_again(fleet: Fleet) -> None:
    before = fleet.system.pid("grpc")
    psutil.Process(before).kill()
    end_s = time.monotonic() + 60
    while True:
        with contextlib.suppress(InferenceServerException), triton.InferenceServerClient(fleet.address) as client:
            client.infer("mlp", [tensor("x", "FP32", ROWS)])
            break
        assert time.monotonic() < end_s
        time.sleep(0.05)
    while [process["pid"] for process in fleet.system.processes("grpc")] in (
        [],
        [before],
    ):  # the controller looks once a second
        assert time.monotonic() < end_s
        time.sleep(0.05)
    # And the gateway, which it asks, may go as well
    psutil.Process(fleet.system.pid("gateway")).kill()
    while True:
        with contextlib.suppress(InferenceServerException):
            fleet.client.infer("mlp", [tensor("x", "FP32", ROWS)])
            break
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_it_outlives_the_controller_and_a_new_one_finds_it(fleet: Fleet) -> None:
    before = fleet.system.pid("grpc")
    psutil.Process(fleet.system.pid("keeper")).kill()
    controller = psutil.Process(fleet.system.pid("controller"))
    controller.kill()
    controller.wait(10)
    fleet.client.infer("mlp", [tensor("x", "FP32", ROWS)])
    again = sizewise("up", "--state-dir", fleet.system.state_dir, "--detach", "--port", "0", "--admin-port",
                     fleet.system.admin_url.rpartition(":")[2], "--grpc-port", "0")  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert f"grpc      {fleet.address}" in again.stdout
    assert fleet.system.pid("grpc") == before


def test_keys_and_tls(tmp_path: Path) -> None:
    real_models.write_mlp(tmp_path / "mlp.onnx")
    files = certificates.write(tmp_path)
    (tmp_path / "keys.txt").write_text(hashlib.sha256(b"secret").hexdigest() + "\n")
    spec = "models: {mlp: {uri: mlp.onnx}}\n"
    serving = (
        "serving: {port: 0, admin_port: 0, grpc_port: 0, api_keys: keys.txt, tls: {cert: tls.pem, key: tls.key}}\n"
    )
    with contextlib.ExitStack() as stack:
        system = stack.enter_context(up(spec, tmp_path, serving=serving))
        assert system.url.startswith("https://")
        assert system.status()["data_url"] == system.url
        credentials = grpc.ssl_channel_credentials(files.ca.read_bytes())
        client = stack.enter_context(
            triton.InferenceServerClient(system.started["grpc_address"], ssl=True, creds=credentials, channel_args=[])
        )
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException, match="API key"):
            client.infer("mlp", [tensor("x", "FP32", ROWS)])
        headers = {"authorization": "Bearer secret"}
        assert client.infer("mlp", [tensor("x", "FP32", ROWS)], headers=headers).as_numpy("y").shape == (3, 3)
        with grpc.secure_channel(system.started["grpc_address"], credentials) as channel:
            assert health(channel).status == 1


def test_a_taken_port_is_said_in_one_line(fleet: Fleet, tmp_path: Path) -> None:
    port = fleet.address.rpartition(":")[2]
    run = sizewise(
        "up", "--state-dir", tmp_path / "s", "--detach", "--port", "0", "--admin-port", "0", "--grpc-port", port
    )
    assert run.returncode != 0
    assert f"port {port} of 127.0.0.1 is taken" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
