"""Servers that users bring, behind the gateway."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from tests.e2e.gateway_rig import FakeReplica, Http, Rig, on_uvloop, tcp_server

WAIT_S = 20.0
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def with_app(test: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
    """The test gets a gateway whose model ``m`` is a server of its own."""

    async def run() -> None:
        async with Rig() as rig:
            rig.routes(runtime="command", platform="command", slo_s=5.0)
            await test(rig)

    return on_uvloop(run)


def at(rig: Rig, port: int, replica_id: str = "c1", *, max_outstanding: int = 8) -> None:
    where = {"model": "m", "version": "v1", "port": port, "max_outstanding": max_outstanding}
    rig.routes(replicas={replica_id: where})


class Raw:
    """Answers each request with what the test gives it; ``seen`` are heads and bodies of requests."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.replies: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.gone: asyncio.Queue[int] = asyncio.Queue()
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                sizes = [int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                self.seen.put_nowait((head, await reader.readexactly(sizes[0] if sizes else 0)))
                while (reply := await self.replies.get()) is not None:
                    writer.write(reply)
                    if reply.endswith(b"0\r\n\r\n") or b"Content-Length" in reply:
                        break
                else:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.put_nowait(number)
        finally:
            writer.close()

    async def next(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(self.seen.get(), WAIT_S)

    def reply(self, *parts: bytes | None) -> None:
        for part in parts:
            self.replies.put_nowait(part)


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@with_app
async def test_a_flask_app(rig: Rig) -> None:
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> Response:
        return jsonify(doubled=2 * request.get_json()["x"], prefix=request.headers["X-Forwarded-Prefix"])

    @app.route("/anything/<path:rest>", methods=["GET", "DELETE", "PATCH"])
    def anything(rest: str) -> Response:
        return jsonify(method=request.method, rest=rest, query=request.query_string.decode())

    @app.get("/stream")
    def stream() -> Response:
        return Response((f"data: {i}\n\n" for i in range(3)), mimetype="text/event-stream")

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        at(rig, server.server_port)
        client = await rig.connect()
        client.post("/models/m/predict", b'{"x": 21}', "Content-Type: application/json\r\n")
        status, body = await client.answer()
        assert status == 200
        assert body.split() == b'{"doubled":42,"prefix":"/models/m"}'.split()
        for method in ("GET", "DELETE", "PATCH"):
            client.send(f"{method} /models/m/anything/a/b?c=d HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            status, body = await client.answer()
            assert (status, b'"method":"%b"' % method.encode() in body, b'"c=d"' in body) == (200, True, True)
        client.get("/models/m/stream")
        assert await client.answer() == (200, b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
        client.get("/models/m/none")
        assert (await client.answer())[0] == 404
        report = rig.gateway.models["m"].report()
        assert (report.arrivals, report.answered, report.client_errors, report.in_flight) == (6, 5, 1, 0)
        assert len(report.batch_samples) == 6
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()


@with_app
async def test_events_are_passed_on_as_they_come(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        client = (await rig.connect()).get("/models/m/events")
        await raw.next()
        raw.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none")
        raw.reply(b"!\r\n")
        status, headers = await client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert rig.gateway.models["m"].in_flight == 1
        got = await client.chunk()
        while len(got) < 4:
            got += await client.chunk()
        assert got == b"one!"
        raw.reply(b"3\r\ntwo\r\n")
        assert await client.chunk() == b"two"
        raw.reply(b"0\r\n\r\n")
        assert await client.chunk() == b""
        await rig.settled(lambda: rig.gateway.models["m"].in_flight == 0)


@with_app
async def test_a_client_that_leaves_ends_the_stream(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        client = (await rig.connect()).get("/models/m/events")
        await raw.next()
        raw.reply(CHUNKED + b"3\r\none\r\n")
        await client.head()
        client.leave()
        await rig.settled(lambda: rig.gateway.models["m"].in_flight == 0)
        raw.reply(b"3\r\ntwo\r\n", None)
        assert rig.gateway.models["m"].report().cancelled == 1


@with_app
async def test_connections_are_used_again(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        client = await rig.connect()
        for i in range(3):
            client.post("/models/m/x", b"body %d" % i)
            assert (await raw.next())[1] == b"body %d" % i
            raw.reply(whole(b"answer %d" % i))
            assert await client.answer() == (200, b"answer %d" % i)
        assert raw.connections == 1


@with_app
async def test_pipelined_streams_keep_their_order(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port, max_outstanding=1)
        client = (await rig.connect()).get("/models/m/1").get("/v2/health/live").get("/models/m/2")
        await raw.next()
        raw.reply(whole(b"first"))
        head, _ = await raw.next()
        assert head.startswith("GET /2 ")
        raw.reply(whole(b"second"))
        assert [(await client.answer())[1] for _ in range(3)] == [b"first", b'{"live":true}', b"second"]


@with_app
async def test_held_while_it_wakes_and_counted(rig: Rig) -> None:
    raw = Raw()
    client = (await rig.connect()).post("/models/m/x", b"not JSON at all")
    assert await rig.event() == {"event": "cold", "model": "m"}
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        await raw.next()
        raw.reply(whole(b"awake"))
        assert await client.answer() == (200, b"awake")
        assert rig.gateway.models["m"].report().cold_held == 1


@with_app
async def test_a_server_that_dies_before_its_answer_is_asked_again(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        client = (await rig.connect()).post("/models/m/x", b"again")
        await raw.next()
        raw.reply(None)
        assert (await raw.next())[1] == b"again"
        raw.reply(whole(b"second try"))
        assert await client.answer() == (200, b"second try")
        client.post("/models/m/x", b"killer")
        for _ in range(2):
            await raw.next()
            raw.reply(None)
        status, body = await client.answer()
        assert status == 500
        assert b"ended two replicas" in body


@with_app
async def test_a_port_that_nobody_listens_on_is_waited_for(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        pass
    at(rig, port)
    client = (await rig.connect()).post("/models/m/x", b"body")
    assert (await rig.event())["event"] == "cold"
    server = await asyncio.start_server(raw.serve, "127.0.0.1", port)
    try:
        await raw.next()
        raw.reply(whole(b"there"))
        assert await client.answer() == (200, b"there")
    finally:
        server.close()


@with_app
async def test_an_answer_that_breaks_off_is_not_passed_as_whole(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        client = (await rig.connect()).get("/models/m/x")
        await raw.next()
        raw.reply(CHUNKED + b"3\r\none\r\n", None)
        await client.head()
        assert await client.chunk() == b"one"
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.chunk()


@with_app
async def test_until_the_end_of_the_connection(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        client = (await rig.connect()).get("/models/m/x")
        await raw.next()
        raw.reply(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nall of it", None)
        assert await client.answer() == (200, b"all of it")


@with_app
async def test_interim_answers_stay_here(rig: Rig) -> None:
    raw = Raw()
    async with tcp_server(raw.serve) as port:
        at(rig, port)
        client = (await rig.connect()).get("/models/m/x")
        await raw.next()
        raw.reply(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + whole(b"final"))
        assert await client.answer() == (200, b"final")


@with_app
async def test_a_slow_reader_holds_the_server_back(rig: Rig) -> None:
    piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    written = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(piece)
                await writer.drain()
                written += len(piece)
        except ConnectionError:
            writer.close()

    async with tcp_server(endless) as port:
        at(rig, port)
        client: Http = (await rig.connect()).get("/models/m/x")
        await rig.settled(lambda: bool(rig.gateway.stalled))
        (connection,) = rig.gateway.stalled
        assert connection.transport.get_write_buffer_size() < 4 << 20
        before = written
        await client.reader.read(1)
        for _ in range(100):
            await client.reader.read(1 << 20)
        await rig.settled(lambda: written > before)
        client.leave()
        await rig.settled(lambda: rig.gateway.models["m"].in_flight == 0)


@with_app
async def test_frames_and_commands_side_by_side(rig: Rig) -> None:
    other: FakeReplica = await FakeReplica(rig.folder / "r-f.sock", "f").start()
    rig.fakes.append(other)
    rig.gateway.set_routes(
        {
            "models": {"n": {"model": "n", "version": "v9", "platform": "p", "runtime": "onnx"}},
            "replicas": {"f": {"model": "n", "version": "v9", "socket": "r-f.sock"}},
        }
    )
    client = (await rig.connect()).post("/v2/models/n/infer")
    other.answer(await other.next(), b"framed")
    assert await client.answer() == (200, b"framed")
    client.post("/v2/models/m/infer")
    status, body = await client.answer()
    assert status == 400
    assert b"/models/m/" in body
