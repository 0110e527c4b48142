"""What takes its time, all of it at the same time: half a minute of events, and clients that send too slowly."""

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e import real_models
from tests.e2e.up import System, up

SERVERS = Path(__file__).with_name("user_servers")
SPEC = f"""
models:
  fast:
    command: ["{sys.executable}", -m, uvicorn, --port, "{{port}}", --log-level, warning, "fastapi_app:app"]
    cwd: "{SERVERS}"
    ready: {{path: /echo/ready, timeout_s: 50}}
  mlp: {{uri: mlp.onnx}}
"""
STREAM_S = 30
HEAD = b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\n"


class Slow:
    """Clients in threads of their own; ``results`` are filled as they end."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.events: list[tuple[float, str]] = []
        self.head: tuple[float, bytes] = (0.0, b"")
        self.body: tuple[float, bytes] = (0.0, b"")
        self.threads = {work.__name__: self._start(work) for work in (self._events, self._head, self._body)}

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def _events(self) -> None:
        url = f"{self.system.url}/models/fast/events?count={STREAM_S + 1}&every_s=1"
        with httpx.stream("GET", url, timeout=50) as answer:
            self.events.append((time.monotonic(), answer.headers["content-type"].partition(";")[0]))
            self.events += [(time.monotonic(), line) for line in answer.iter_lines() if line]

    def _head(self) -> None:
        self.head = self._trickle(HEAD + b"X-Endless: ")

    def _body(self) -> None:
        self.body = self._trickle(HEAD + b"Content-Length: 100000\r\n\r\n")

    def _trickle(self, beginning: bytes) -> tuple[float, bytes]:
        """A byte each half second until there is an answer: after how long, and which."""
        began_s = time.monotonic()
        with self.system.connect(timeout_s=0.5) as connection:
            connection.sendall(beginning)
            while time.monotonic() - began_s < 50:
                try:
                    return time.monotonic() - began_s, connection.recv(65536)
                except TimeoutError:
                    connection.sendall(b"1")
        return time.monotonic() - began_s, b""

    def done(self, name: str) -> None:
        self.threads[name].join(55)
        assert not self.threads[name].is_alive()


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    folder = tmp_path_factory.mktemp("models")
    real_models.write_mlp(folder / "mlp.onnx")
    with up(SPEC, folder) as system:
        clients = Slow(system)
        yield clients
        for name in clients.threads:
            clients.done(name)


def error_of(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 "), answer
    assert b"Connection: close" in head
    found: dict[str, str] = json.loads(body)
    assert list(found) == ["error"]
    return found["error"]


def test_others_are_served_meanwhile(slow: Slow) -> None:
    body = {"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [0.5] * 16}]}
    answer = slow.system.http.post("/v2/models/mlp/infer", json=body)
    assert answer.status_code == 200
    assert not slow.body[1], "answered while the others went on"


def test_a_head_that_does_not_end(slow: Slow) -> None:
    slow.done("_head")
    took_s, answer = slow.head
    assert "header" in error_of(answer)
    assert 9 < took_s < 30, "10 s are allowed"


def test_a_body_that_trickles(slow: Slow) -> None:
    slow.done("_body")
    took_s, answer = slow.body
    assert "body" in error_of(answer)
    assert 29 < took_s < 48, "30 s are allowed, and a second for each 64 KiB"


def test_events_arrive_as_they_are_produced(slow: Slow) -> None:
    slow.done("_events")
    (_, kind), *arrived = slow.events
    assert kind == "text/event-stream"
    assert [line for _, line in arrived] == [f"data: {number}" for number in range(STREAM_S + 1)]
    times = [at_s for at_s, _ in arrived]
    assert times[-1] - times[0] > STREAM_S - 1
    gaps = sorted(later - sooner for sooner, later in itertools.pairwise(times))
    assert gaps[-1] < STREAM_S / 3, "none was kept back for the next ones"
    assert gaps[len(gaps) // 2] == pytest.approx(1.0, abs=0.5)
