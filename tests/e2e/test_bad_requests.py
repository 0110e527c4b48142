"""What clients get wrong, sent byte by byte to the data port: the right status, one line of JSON, nobody else hurt."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tests.e2e import real_models
from tests.e2e.up import System, up

SPEC = """
models:
  mlp: {uri: mlp.onnx, scaling: {min_replicas: 1}}
  cold: {uri: mlp.onnx}
  identity: {uri: identity.onnx}
"""
MIB = 1 << 20
ROW = np.linspace(-1, 1, 16).tolist()
GOOD = {"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": ROW}]}
DEEP = 10_000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("models")
    real_models.write_mlp(folder / "mlp.onnx")
    real_models.write_identity(folder / "identity.onnx")
    with up(SPEC, folder) as running:
        running.until("mlp", lambda seen: seen["replicas"]["ready"] == 1)
        yield running


@pytest.fixture
def bystander(system: System) -> Iterator[None]:
    """Another client of the same model: every one of its requests, before and during the test, must be answered."""
    stop, failures = threading.Event(), []

    def ask() -> None:
        with httpx.Client(base_url=system.url, timeout=20) as client:
            while not stop.is_set():
                answer = client.post("/v2/models/mlp/infer", json=GOOD)
                if answer.status_code != 200:
                    failures.append(answer.text)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    stop.set()
    thread.join(30)
    assert failures == []


@dataclass(frozen=True)
class Answer:
    status: int
    error: str
    open: bool
    """Whether the connection goes on."""


def read_answer(connection: socket.socket) -> Answer:
    """One answer with its whole body, which must be ``{"error": TEXT}`` in one line unless it is a 200."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = {}
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = json.loads(stream.read(int(headers["content-length"])))
    if status == 200:
        return Answer(status, "", headers.get("connection") != "close")
    assert headers["content-type"] == "application/json"
    assert list(body) == ["error"]
    assert "\n" not in body["error"]
    assert len(body["error"]) < 500
    return Answer(status, body["error"], headers.get("connection") != "close")


def ask(system: System, *parts: bytes) -> Answer:
    """Send, read, and see that what the answer says of the connection is so."""
    with system.connect() as connection:
        for part in parts:
            connection.sendall(part)
        answer = read_answer(connection)
        if answer.open:
            connection.sendall(post(json.dumps(GOOD).encode()))
            assert read_answer(connection).status == 200, "the next request on the same connection"
        else:
            assert connection.recv(1) == b"", "it said that it would close"
    return answer


def post(body: bytes, *headers: str, path: str = "/v2/models/mlp/infer", length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def infer(model: str = "mlp", **changes: object) -> bytes:
    """A good request with one thing changed in its tensor."""
    tensor = {**GOOD["inputs"][0], **changes}
    return post(json.dumps({"inputs": [tensor]}).encode(), path=f"/v2/models/{model}/infer")


def text(body: str | bytes) -> bytes:
    return post(body if isinstance(body, bytes) else body.encode())


def binary(tail: bytes, size: object, *, shape: object = (1, 16), header: int | None = None) -> bytes:
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = len(head) if header is None else header
    return post(head + tail, f"Inference-Header-Content-Length: {length}")


def nested(depth: int, *, inside: str = "data") -> bytes:
    deep = "[" * depth + "1" + "]" * depth
    fields = {"name": '"x"', "shape": "[1,16]", "datatype": '"FP32"', "data": "[1]", inside: deep}
    return text('{"inputs":[{' + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}]}")


FLOATS = np.array(ROW, np.float32).tobytes()
TABLE = [
    pytest.param(infer("none"), 404, "model 'none' is not deployed", id="unknown model"),
    pytest.param(infer("x" * 5000), 404, "is not deployed", id="very long model name"),
    pytest.param(infer("..%2f..%2fetc"), 404, "", id="path in a model name"),
    pytest.param(infer(shape=[1, 4]), 400, "has shape [1, 4]", id="shape"),
    pytest.param(infer(shape=[16]), 400, "rank 2 and not 1", id="rank"),
    pytest.param(infer(shape=[-1, 16]), 400, "whole numbers from 0", id="negative dimension"),
    pytest.param(infer(shape=[10**12, 16]), 400, "16 elements", id="claims a trillion rows"),
    pytest.param(infer(shape=[0, 16], data=[]), 400, "no rows", id="no rows"),
    pytest.param(infer(shape="1"), 400, "shape must be a list", id="shape is text"),
    pytest.param(infer(datatype="FP64"), 400, "'FP64': this model takes FP32", id="datatype"),
    pytest.param(infer(datatype="FP128"), 400, "is not one of", id="no datatype"),
    pytest.param(infer(name="z"), 400, "unknown input 'z'", id="input name"),
    pytest.param(infer(data=ROW[:-1]), 400, "15 elements: shape [1, 16] needs 16", id="too few elements"),
    pytest.param(infer(data=[*ROW, 1.0]), 400, "17 elements", id="too many elements"),
    pytest.param(infer(data=[*ROW[:-1], "1"]), 400, "element 15 is '1', which is not FP32", id="text among numbers"),
    pytest.param(infer(data=[*ROW[:-1], None]), 400, "element 15", id="null among numbers"),
    pytest.param(infer(data=[*ROW[:-1], float("nan")]), 400, "JSON", id="NaN"),
    pytest.param(infer(data=[*ROW[:-1], float("inf")]), 400, "JSON", id="Infinity"),
    pytest.param(infer(data=[*ROW[:-1], 1e300]), 400, "element 15", id="beyond FP32"),
    pytest.param(infer("cold", shape=[1, 4]), 400, "has shape [1, 4]", id="cold model, shape"),
    pytest.param(infer("cold", data=[*ROW[:-1], float("nan")]), 400, "JSON", id="cold model, NaN"),
    pytest.param(nested(DEEP), 400, "", id="10,000 deep in data"),
    pytest.param(nested(DEEP, inside="shape"), 400, "", id="10,000 deep in shape"),
    pytest.param(nested(DEEP, inside="parameters"), 400, "", id="10,000 deep in parameters"),
    pytest.param(text("[" * DEEP), 400, "JSON", id="10,000 open brackets"),
    pytest.param(text(""), 400, "", id="empty body"),
    pytest.param(text("[]"), 400, "object", id="a list"),
    pytest.param(text("{}"), 400, "inputs", id="no inputs"),
    pytest.param(text('{"inputs": {}}'), 400, "inputs must be a list", id="inputs is an object"),
    pytest.param(text('{"inputs": []}'), 400, "'x' is missing", id="inputs is empty"),
    pytest.param(text(json.dumps({**GOOD, "id": 7})), 400, "id must be a string", id="id is a number"),
    pytest.param(text(json.dumps({**GOOD, "outputs": [{"name": "z"}]})), 400, "unknown output 'z'", id="output"),
    pytest.param(text(b'{"inputs": "\xff\xfe"}'), 400, "JSON", id="not UTF-8"),
    pytest.param(text('{"inputs": "\\ud800"}'), 400, "", id="half a surrogate"),
    pytest.param(text('{"inputs": [' + "{}," * 50_000 + "{}]}"), 400, "a name", id="50,000 inputs"),
    pytest.param(binary(FLOATS, 60), 400, "60 bytes", id="binary size too small"),
    pytest.param(binary(FLOATS, 68), 400, "64 bytes are left", id="binary size beyond the body"),
    pytest.param(binary(FLOATS + b"rest", 64), 400, "4 bytes are left", id="bytes behind the last tensor"),
    pytest.param(binary(FLOATS, -64), 400, "whole number from 0", id="negative binary size"),
    pytest.param(binary(FLOATS, "64"), 400, "whole number from 0", id="binary size is text"),
    pytest.param(binary(FLOATS, 64, shape=[2, 16]), 400, "needs 128", id="binary size and shape differ"),
    pytest.param(binary(FLOATS, 64, header=10**6), 400, "Inference-Header-Content-Length", id="JSON length too large"),
    pytest.param(binary(FLOATS, 64, header=0), 400, "Inference-Header-Content-Length", id="JSON length 0"),
    pytest.param(binary(FLOATS, 64, header=7), 400, "JSON", id="JSON length too small"),
    pytest.param(post(b"", "Inference-Header-Content-Length: x"), 400, "whole number", id="JSON length is text"),
    pytest.param(post(b"{}", "Content-Encoding: gzip"), 415, "gzip", id="compressed"),
    pytest.param(post(b"{}", "X-Request-Timeout: soon"), 400, "timeout", id="timeout is text"),
    pytest.param(post(b"{}", path="/v2/models/mlp/infer?timeout=-1"), 400, "timeout", id="timeout below 0"),
    pytest.param(post(b"{}", path="/v3/models"), 404, "nothing is at '/v3/models'", id="unknown path"),
    pytest.param(post(b"{}", path="/v2/models/mlp/predict"), 404, "nothing is at", id="unknown verb"),
    pytest.param(post(b"{}", path="/v2/models/mlp"), 405, "takes GET, HEAD and not POST", id="POST of metadata"),
    pytest.param(b"GET /v2/models/mlp/infer HTTP/1.1\r\nHost: x.localhost\r\n\r\n", 403, "Host", id="foreign host"),
    pytest.param(b"GET /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "takes POST", id="GET infer"),
    pytest.param(b"BREW /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed HTTP", id="no method"),
    pytest.param(b"GET /v2 HTTP/1.1\r\n\r\n", 400, "Host is missing", id="no host"),
    pytest.param(b"GET /v2 HTTP/3.0\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.1", id="HTTP/3.0 in the clear"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed HTTP", id="TLS hello"),
    pytest.param(post(b"", "Content-Length: 5"), 400, "", id="two lengths"),
    pytest.param(post(b"", "Transfer-Encoding: chunked"), 400, "", id="length and chunks"),
    pytest.param(
        b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400, "", id="length -5"
    ),
    pytest.param(
        b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        400,
        "malformed HTTP",
        id="broken chunk",
    ),
    pytest.param(post(b"{}", f"X-Long: {'x' * (128 << 10)}"), 431, "over the limit", id="huge header"),
    pytest.param(post(b"{}", *(f"X-{i}: 1" for i in range(200))), 431, "over the limit", id="200 headers"),
    pytest.param(post(b"{}", path="/" + "x" * (128 << 10)), 431, "over the limit", id="huge path"),
    pytest.param(post(b"", length=300 * MIB), 413, "over the limit of 256 MiB", id="body over the limit"),
    pytest.param(
        post(b"", "Expect: 100-continue", length=300 * MIB), 413, "over the limit", id="asks before sending too much"
    ),
]


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize(("sent", "status", "words"), TABLE)
def test_refused(system: System, sent: bytes, status: int, words: str) -> None:
    answer = ask(system, sent)
    assert answer.status == status, answer.error
    assert words in answer.error


def test_nothing_of_this_was_worth_waking_a_model(system: System) -> None:
    assert system.model("cold")["state"] == "cold"
    assert system.model("cold")["replicas"]["ready"] == 0
    assert system.model("mlp")["replicas"]["ready"] == 1
    assert system.model("mlp")["last_exit"] is None


@pytest.mark.usefixtures("bystander")
def test_bodies_that_are_refused_or_never_end_leave_the_gateway_as_it_was(system: System) -> None:
    gateway = psutil.Process(system.pid("gateway"))
    before = gateway.memory_info().rss
    wrong = binary(bytes(16 * MIB), 16 * MIB)
    for _ in range(12):
        assert ask(system, wrong).status == 400
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(system.connect()).sendall(wrong[: 8 * MIB])
        # Answered, so what the others had sent before has been read
        assert system.http.post("/v2/models/mlp/infer", json=GOOD).status_code == 200
    assert system.http.post("/v2/models/mlp/infer", json=GOOD).status_code == 200
    peak = high_water(gateway.pid)
    assert peak - before < 256 * MIB, "about what was under way at once"
    deadline_s = time.monotonic() + 10
    while gateway.memory_info().rss - before >= 64 * MIB:  # what is free is given back once a second
        assert time.monotonic() < deadline_s, "and none of it afterwards"
        time.sleep(0.1)


def high_water(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
