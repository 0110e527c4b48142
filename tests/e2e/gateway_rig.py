"""A gateway on real sockets: in this process or in its own, with replicas that do as a test says."""

import asyncio
import contextlib
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import orjson
import uvloop

from sizewise.gateway.connection import Connection
from sizewise.gateway.gateway import Config, Gateway
from sizewise.gateway.head import Access
from sizewise.gateway.keys import ApiKeys
from sizewise.gateway.limits import Limits
from sizewise.protocols.control import ControlClient
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.frames import Decoder, Encoding, Flag, Frame, Kind, encode

WITHIN_S = 20.0
MODEL: dict[str, Any] = {
    "model": "m",
    "version": "v1",
    "platform": "onnx_onnxv1",
    "runtime": "onnx",
    "inputs": [],
    "outputs": [],
}
INPUTS = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'


def on_uvloop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on the loop that gateways run on."""

    def run() -> None:
        uvloop.run(test())

    run.__name__ = test.__name__
    return run


async def one_turn() -> None:
    """Let the loop do what it has: where nothing could be subscribed to."""
    await asyncio.sleep(0)


class FakeReplica:
    """Speaks frames on a Unix socket. Requests pile up in ``asked`` until the test answers them."""

    def __init__(self, path: Path, replica_id: str = "r1") -> None:
        self.path, self.replica_id = path, replica_id
        self.asked: asyncio.Queue[Frame] = asyncio.Queue()
        self.cancelled: asyncio.Queue[int] = asyncio.Queue()
        self.echo = False
        """Answer each request with its own body."""
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> "FakeReplica":
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(encode(Frame(kind=Kind.HELLO, request_id=0, body=orjson.dumps({"replica_id": self.replica_id}))))
        decoder = Decoder()
        while data := await reader.read(1 << 16):
            for frame in decoder.feed(data):
                if frame.kind == Kind.CANCEL:
                    self.cancelled.put_nowait(frame.request_id)
                elif self.echo:
                    self.answer(frame, bytes(frame.body))
                else:
                    self.asked.put_nowait(frame)

    async def next(self) -> Frame:
        return await asyncio.wait_for(self.asked.get(), WITHIN_S)

    def answer(self, frame: Frame, body: bytes = b"{}", **fields: Any) -> None:
        given = {"status": 200, "encoding": Encoding.V2_JSON, "flags": Flag.LEAD, "batch": 1, "deadline_ns": 1000}
        result = Frame(kind=Kind.RESULT, request_id=frame.request_id, body=body, **{**given, **fields})
        self.send(encode(result))

    def send(self, data: bytes) -> None:
        self._writers[-1].write(data)

    def die(self) -> None:
        """As after kill -9: nobody listens, every connection is gone."""
        if self._server is not None:
            self._server.close()
        self.path.unlink(missing_ok=True)
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


class Http:
    """One connection, byte by byte if need be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> "Http":
        self.writer.write(data)
        return self

    def post(self, path: str, body: bytes = INPUTS, headers: str = "") -> "Http":
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        return self.send(head.encode() + body)

    def get(self, path: str, headers: str = "") -> "Http":
        return self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        text = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WITHIN_S)
        first, *lines = text.decode().strip().split("\r\n")
        return int(first.split()[1]), {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}

    async def chunk(self) -> bytes:
        """One chunk of a chunked answer; empty for the last."""
        size = int(await asyncio.wait_for(self.reader.readuntil(b"\r\n"), WITHIN_S), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self) -> tuple[int, bytes]:
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while piece := await self.chunk():
                body += piece
            return status, body
        return status, await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), WITHIN_S)

    async def ended(self) -> bytes:
        """What comes until the other side closes."""
        return await asyncio.wait_for(self.reader.read(), WITHIN_S)

    def leave(self) -> None:
        self.writer.transport.abort()


class Rig:
    """A gateway inside this process."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sizewise-"))
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        config = Config(run_dir=self.folder, access=Access.of(ApiKeys(None), ()), limits=limits or Limits())
        self.gateway = Gateway(config, self.events.put_nowait)
        self.fakes: list[FakeReplica] = []
        self._clients: list[Http] = []

    async def __aenter__(self) -> "Rig":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self.gateway), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.gateway.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for fake in self.fakes:
            fake.die()
        for client in self._clients:
            client.writer.close()
        self.gateway.stop()
        self._server.close()
        await self.settled(lambda: not self.gateway.connections)
        shutil.rmtree(self.folder)

    async def replica(self, replica_id: str = "r1", *, max_outstanding: int = 64) -> FakeReplica:
        """A replica that listens and is routed."""
        fake = await FakeReplica(self.folder / f"r-{replica_id}.sock", replica_id).start()
        self.fakes.append(fake)
        at = {"model": "m", "version": "v1", "socket": fake.path.name, "max_outstanding": max_outstanding}
        self.routes(replicas={replica_id: at})
        await self.settled(lambda: any(s.replica_id == replica_id for s in self.gateway.models["m"].routing.slots))
        return fake

    def routes(self, replicas: dict[str, Any] | None = None, **model: Any) -> None:
        models = {} if not model and "m" in self.gateway.models else {"m": {**MODEL, **model}}
        self.gateway.set_routes({"models": models, "replicas": replicas or {}})

    async def connect(self) -> Http:
        client = Http(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def settled(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until something that it does by itself has happened."""
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                await one_turn()

    async def event(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.events.get(), WITHIN_S)


class Process:
    """A gateway in a process of its own, as the keeper starts it."""

    def __init__(self, *arguments: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sizewise-"))
        self._arguments = arguments
        self._clients: list[Http] = []

    async def __aenter__(self) -> "Process":
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = listener.getsockname()[1]
        fixed = ["--run-dir", str(self.folder), "--state-dir", str(self.folder), "--fd", str(listener.fileno())]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sizewise.gateway", *fixed, *self._arguments, pass_fds=(listener.fileno(),)
        )
        listener.close()
        self.control = await self._control()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        for client in self._clients:
            client.leave()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()
        shutil.rmtree(self.folder)

    async def _control(self) -> ControlClient:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    return await ControlClient.connect(self.folder / "gateway.sock")
                except UnavailableError:
                    await asyncio.sleep(0.005)  # it has no way to tell us that it listens

    async def routes(self, **replicas: Any) -> None:
        await self.control.call("routes", reset=True, models={"m": MODEL}, replicas=replicas)

    async def connect(self) -> Http:
        client = Http(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def tcp_server(handler: Handler) -> AsyncIterator[int]:
    """A server for one test; its port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def gathered(clients: Sequence[Http]) -> list[int]:
    """The status of one answer of each."""
    return [(await client.answer())[0] for client in clients]
