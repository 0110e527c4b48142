"""A gateway without sockets: bytes in, bytes out, and replicas that answer when told to."""

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson

from sizewise.core.tensors import TensorSpec
from sizewise.gateway.connection import Connection
from sizewise.gateway.exchange import Exchange
from sizewise.gateway.gateway import Config, Gateway
from sizewise.gateway.head import Access
from sizewise.gateway.keys import ApiKeys
from sizewise.gateway.limits import Limits
from sizewise.gateway.model import Model
from sizewise.gateway.replica import Replica
from sizewise.protocols.backend import ModelRoute

INPUT = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
GOOD = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'


class FakeTransport(asyncio.Transport):
    """Keeps what is written; ``stalled`` makes the buffer grow as with a client that does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = self.eof = False
        self.reading = True
        self.unsent = 0

    def write(self, data: Any) -> None:
        assert not self.eof
        self.written += bytes(data)

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.write(part)

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 4711) if name == "peername" else default


class FakeReplica(Replica):
    """Ready at once; ``finish`` answers a request."""

    def __init__(self, replica_id: str = "r1", *, version: str = "v1", max_outstanding: int = 2) -> None:
        super().__init__(replica_id, version=version, max_outstanding=max_outstanding)
        self.cancelled: list[Exchange] = []
        self.was_closed = False

    def start(self) -> None:
        self.connected = True
        assert self.model is not None
        self.model.find_ready()

    def send(self, x: Exchange, now_s: float) -> None:
        self.take(x, now_s)

    def cancel(self, x: Exchange) -> None:
        if self.release(x.number) is not None:
            self.cancelled.append(x)

    def close(self) -> None:
        self.was_closed = True

    def finish(
        self, body: bytes = b"{}", *, status: int = 200, at_s: float | None = None, compute_s: float = 0.0
    ) -> Exchange:
        """Answer the oldest request."""
        x = self.release(next(iter(self.pending)))
        assert x is not None
        assert self.model is not None
        self.model.settle(x, status, x.arrived_s if at_s is None else at_s, compute_s=compute_s)
        x.answer(status, body)
        if not self.pending:
            self.became_idle(x.arrived_s)
        self.model.pump(x.arrived_s)
        return x

    def die(self) -> None:
        self.connected = False
        lost = self.release_all()
        assert self.model is not None
        self.model.replica_lost(self, lost)


def route(name: str = "m", **changes: Any) -> ModelRoute:
    figures: dict[str, Any] = {
        "model": name,
        "version": "v1",
        "platform": "onnx_onnxv1",
        "runtime": "onnx",
        "inputs": (INPUT,),
        "outputs": (TensorSpec(name="y", datatype="FP32", shape=(-1, 1)),),
    }
    return ModelRoute(**{**figures, **changes})


class Rig:
    def __init__(self, *, limits: Limits | None = None, keys: Path | None = None, hosts: tuple[str, ...] = ()) -> None:
        self.events: list[dict[str, Any]] = []
        access = Access.of(ApiKeys(keys), hosts)
        config = Config(run_dir=Path(), access=access, limits=limits or Limits())
        self.gateway = Gateway(config, self.events.append)

    def add(self, *replicas: FakeReplica, name: str = "m", **changes: Any) -> Model:
        self.gateway.models[name] = model = Model(route(name, **changes), self.gateway)
        model.settle_s = 0.0  # no loop runs here: what died apart died apart
        self.gateway.set_routes({})  # no change, but the hot paths are made anew
        for replica in replicas:
            model.attach(replica)
        return model

    def connect(self) -> "Client":
        return Client(self.gateway)

    def ask(self, request: bytes) -> "Client":
        client = self.connect()
        client.send(request)
        return client


class Client:
    """The other end of one connection."""

    def __init__(self, gateway: Gateway) -> None:
        self.connection = Connection(gateway)
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.connection.data_received(data)

    def leave(self) -> None:
        self.connection.connection_lost(None)

    @property
    def text(self) -> bytes:
        return self.transport.written

    @property
    def statuses(self) -> list[int]:
        """Of all answers so far, interim ones included."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.text)]

    @property
    def error(self) -> str:
        """Of the last answer; it must be the only field."""
        document = orjson.loads(self.text.rpartition(b"\r\n\r\n")[2])
        assert list(document) == ["error"], document
        text = document["error"]
        assert isinstance(text, str)
        assert "\n" not in text
        assert "Traceback" not in text
        return text

    @property
    def json(self) -> Any:
        return orjson.loads(self.text.rpartition(b"\r\n\r\n")[2])


def infer(body: bytes = GOOD, *, path: str = "/v2/models/m/infer", headers: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, *, headers: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()
