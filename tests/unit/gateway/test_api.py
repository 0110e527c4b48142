"""Addresses and their answers."""

from typing import Any

import pytest

from sizewise import __version__
from sizewise.protocols.frames import Encoding
from tests.unit.gateway.rig import GOOD, FakeReplica, Rig, get, infer


def rig() -> Rig:
    made = Rig()
    made.add(FakeReplica(max_outstanding=100))
    made.add(name="cold")
    made.add(name="broken", refuse="it crashed 5 times: see sizewise logs broken")
    made.add(name="app", runtime="command")
    return made


SPECS = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
}
META = {"name": "m", "versions": ["v1"], "platform": "onnx_onnxv1", **SPECS}
SERVER = {
    "name": "sizewise",
    "version": __version__,
    "extensions": ["binary_tensor_data", "model_repository", "statistics"],
}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        pytest.param("/", {"status": "alive"}, id="root, as KServe v1"),
        pytest.param("/v2", SERVER, id="server metadata"),
        pytest.param("/v2/", SERVER, id="server metadata, with a slash"),
        pytest.param("/v2/health/live", {"live": True}, id="live"),
        pytest.param("/v2/health/ready", {"ready": True}, id="ready"),
        pytest.param("/v2/models", {"models": ["app", "broken", "cold", "m"]}, id="models"),
        pytest.param("/v2/models/m", META, id="model metadata"),
        pytest.param("/v2/models/m?x=y", META, id="a query is ignored"),
        pytest.param("/v2/models/%6d", META, id="percent-encoded"),
        pytest.param("/v2/models/m/versions/v1", META, id="model metadata, version"),
        pytest.param("/v2/models/m/ready", {"name": "m", "ready": True}, id="model ready"),
        pytest.param("/v2/models/m/versions/v1/ready", {"name": "m", "ready": True}, id="model ready, version"),
        pytest.param("/v2/models/cold/ready", {"name": "cold", "ready": True}, id="cold but loadable is ready"),
        pytest.param("/v1/models", {"models": ["app", "broken", "cold", "m"]}, id="v1 models"),
        pytest.param("/v1/models/cold", {"name": "cold", "ready": True}, id="v1 model"),
    ],
)
def test_get(path: str, answer: Any) -> None:
    client = rig().ask(get(path))
    assert client.statuses == [200]
    assert client.json == answer


@pytest.mark.parametrize(
    ("request_bytes", "status", "words"),
    [
        pytest.param(get("/none"), 404, "/v2/models", id="unknown address"),
        pytest.param(get("/v2/models/none"), 404, "not deployed", id="unknown model"),
        pytest.param(get("/v2/models/m/versions/v2"), 404, "version", id="unknown version"),
        pytest.param(get("/v2/models/m/nonsense"), 404, "nothing is at", id="unknown subpath"),
        pytest.param(get("/v2/models/broken/ready"), 503, "crashed 5 times", id="refused model is not ready"),
        pytest.param(infer(path="/v2/models/none/infer"), 404, "not deployed", id="infer unknown model"),
        pytest.param(infer(path="/v2/models/m/versions/v2/infer"), 404, "version", id="infer unknown version"),
        pytest.param(infer(path="/v2/models/broken/infer"), 503, "crashed 5 times", id="infer refused model"),
        pytest.param(infer(path="/v2/models/app/infer"), 400, "/models/app/", id="infer at a command"),
        pytest.param(infer(path="/v1/models/app:predict"), 400, "/models/app/", id="predict at a command"),
        pytest.param(get("/models/m/anything"), 400, "/v2/models/m/infer", id="a command's path of a model"),
        pytest.param(get("/v2/models/m/infer"), 405, "POST", id="GET infer"),
        pytest.param(infer(path="/v2/models/m"), 405, "GET", id="POST metadata"),
        pytest.param(get("/v2", method="DELETE"), 405, "GET", id="DELETE"),
        pytest.param(get("/v2/models", method="OPTIONS"), 405, "GET", id="OPTIONS: no CORS"),
        pytest.param(infer(path="/invocations"), 400, "X-Amzn-SageMaker-Target-Model", id="SageMaker, several models"),
        pytest.param(
            infer(path="/invocations", headers="X-Amzn-SageMaker-Target-Model: none\r\n"),
            404,
            "none",
            id="unknown target",
        ),
        pytest.param(infer(path="/v2/models/m/infer?timeout=x"), 400, "timeout", id="timeout not a number"),
        pytest.param(infer(b"{", path="/v2/repository/index"), 400, "JSON", id="index, not JSON"),
        pytest.param(infer(b"[]", path="/v2/repository/index"), 400, "object", id="index, not an object"),
        pytest.param(infer(path="/v2/repository/models/none/load"), 404, "not deployed", id="load unknown model"),
    ],
)
def test_refusals(request_bytes: bytes, status: int, words: str) -> None:
    client = rig().ask(request_bytes)
    assert client.statuses == [status]
    assert words in client.error
    assert (b"\r\nAllow: " in client.text) == (status == 405)


@pytest.mark.parametrize(
    ("request_bytes", "encoding", "json_bytes"),
    [
        pytest.param(infer(), Encoding.V2_JSON, 0, id="v2"),
        pytest.param(infer(path="/v2/models/m/versions/v1/infer"), Encoding.V2_JSON, 0, id="v2, version"),
        pytest.param(infer(path="/v2/models/m/infer?a=b"), Encoding.V2_JSON, 0, id="v2, query"),
        pytest.param(
            infer(headers="Inference-Header-Content-Length: 9\r\n"), Encoding.V2_BINARY, 9, id="v2, binary tensors"
        ),
        pytest.param(infer(path="/v1/models/m:predict"), Encoding.V1_JSON, 0, id="v1"),
        pytest.param(
            infer(path="/invocations", headers="X-Amzn-SageMaker-Target-Model: m\r\n"),
            Encoding.V1_JSON,
            0,
            id="SageMaker",
        ),
        pytest.param(
            infer(path="/invocations", headers="X-Amzn-SageMaker-Target-Model: m\r\nContent-Type: text/csv; x=y\r\n"),
            Encoding.CSV,
            0,
            id="SageMaker, CSV",
        ),
    ],
)
def test_infer(request_bytes: bytes, encoding: Encoding, json_bytes: int) -> None:
    made = rig()
    client = made.ask(request_bytes)
    assert client.statuses == []
    (replica,) = made.gateway.models["m"].replicas
    (x,) = replica.pending.values()
    assert (x.encoding, x.json_bytes, x.joined()) == (encoding, json_bytes, GOOD)


def test_sagemaker_needs_no_name_for_a_single_model() -> None:
    made = Rig()
    made.add(FakeReplica())
    made.add(name="app", runtime="command")
    made.ask(infer(path="/invocations"))
    assert made.gateway.models["m"].in_flight == 1


@pytest.mark.parametrize(
    ("request_bytes", "timeout_s"),
    [
        pytest.param(infer(), 30.0, id="the model's"),
        pytest.param(infer(headers="X-Request-Timeout: 2.5\r\n"), 2.5, id="header"),
        pytest.param(infer(path="/v2/models/m/infer?timeout=3"), 3.0, id="query"),
        pytest.param(infer(path="/v2/models/m/infer?timeout=3", headers="X-Request-Timeout: 2\r\n"), 2.0, id="both"),
    ],
)
def test_timeout(request_bytes: bytes, timeout_s: float) -> None:
    made = rig()
    made.ask(request_bytes)
    (replica,) = made.gateway.models["m"].replicas
    (x,) = replica.pending.values()
    assert x.deadline_s - x.arrived_s == pytest.approx(timeout_s)


def test_repository_index() -> None:
    made = rig()
    entries = {entry["name"]: entry for entry in made.ask(infer(b"", path="/v2/repository/index")).json}
    assert [entries[name]["state"] for name in ("m", "cold", "broken")] == ["READY", "READY", "UNAVAILABLE"]
    assert "crashed" in entries["broken"]["reason"]
    ready = made.ask(infer(b'{"ready": true}', path="/v2/repository/index")).json
    assert [entry["name"] for entry in ready] == ["app", "cold", "m"]


def test_statistics() -> None:
    made = rig()
    made.ask(infer())
    (replica,) = made.gateway.models["m"].replicas
    assert isinstance(replica, FakeReplica)
    made.gateway.models["m"].traffic.batch(3, 0.25)
    x = next(iter(replica.pending.values()))
    replica.finish(at_s=x.arrived_s + 0.5, compute_s=0.25)
    (stats,) = made.ask(get("/v2/models/m/versions/v1/stats")).json["model_stats"]
    assert stats["inference_count"] == 3
    assert stats["execution_count"] == 1
    assert stats["inference_stats"]["success"]["count"] == 1
    assert stats["inference_stats"]["success"]["ns"] == pytest.approx(5e8)
    assert stats["inference_stats"]["queue"]["ns"] == pytest.approx(2.5e8)
    assert stats["inference_stats"]["compute_infer"] == {"count": 1, "ns": 250_000_000}
    assert len(made.ask(get("/v2/models/stats")).json["model_stats"]) == 4


async def test_load_waits_for_a_replica() -> None:
    made = rig()
    client = made.ask(infer(b"", path="/v2/repository/models/cold/load"))
    assert made.events == [{"event": "repository", "model": "cold", "op": "load"}]
    assert client.statuses == []
    made.gateway.models["cold"].attach(FakeReplica("c1"))
    await made.gateway.until("cold", lambda: bool(client.statuses), 1.0)
    assert client.json == {"name": "cold", "load": True}


async def test_unload_is_done_when_no_replica_is_left() -> None:
    made = rig()
    client = made.ask(infer(b"", path="/v2/repository/models/cold/unload"))
    assert made.events == [{"event": "repository", "model": "cold", "op": "unload"}]
    await made.gateway.until("cold", lambda: bool(client.statuses), 0.01)
    assert client.json == {"name": "cold", "unload": True}


async def test_load_that_does_not_come_about() -> None:
    made = rig()
    client = made.ask(infer(b"", path="/v2/repository/models/broken/load", headers="X-Request-Timeout: 0.01\r\n"))
    await made.gateway.until("broken", lambda: False, 0.05)
    assert client.statuses == [503]
    assert "crashed 5 times" in client.error


async def test_draining() -> None:
    made = rig()
    old = made.ask(infer())
    assert await made.gateway.drain(0.0) == 1
    assert made.ask(infer()).statuses == [503]
    assert made.ask(get("/v2/health/ready")).statuses == [503]
    assert made.ask(get("/v2/health/live")).statuses == [200]
    (replica,) = made.gateway.models["m"].replicas
    assert isinstance(replica, FakeReplica)
    replica.finish()
    assert old.statuses == [200]
    assert await made.gateway.drain(0.0) == 0
