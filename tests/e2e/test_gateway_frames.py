"""The gateway and replicas that speak frames, over real sockets."""

import asyncio
import os

from sizewise.gateway.limits import Limits
from sizewise.protocols.frames import Encoding, Flag
from tests.e2e.gateway_rig import INPUTS, Rig, gathered, on_uvloop

INFER = "/v2/models/m/infer"
LARGE = os.urandom(9 * 1024 * 1024)


@on_uvloop
async def test_a_request_there_and_back() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(INFER)
        frame = await replica.next()
        assert (frame.target, frame.body, frame.encoding) == (b"m@v1", INPUTS, Encoding.V2_JSON)
        assert frame.deadline_ns > 0
        replica.answer(frame, b'{"outputs":[]}', batch=3, deadline_ns=2_000_000)
        assert await client.answer() == (200, b'{"outputs":[]}')
        report = rig.gateway.models["m"].report()
        assert (report.answered, report.rows, report.batch_samples) == (1, 3, ((3, 0.002),))


@on_uvloop
async def test_each_batch_is_counted_once() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(INFER).post(INFER)
        for flags in (Flag.LEAD, Flag(0)):
            replica.answer(await replica.next(), flags=flags, batch=2, deadline_ns=1_000_000)
        await gathered([client, client])
        assert rig.gateway.models["m"].report().batch_samples == ((2, 0.001),)


@on_uvloop
async def test_answers_in_the_order_of_requests() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(INFER, b"1").post(INFER, b"2").get("/v2/health/live").post(INFER, b"3")
        frames = [await replica.next() for _ in range(3)]
        for frame in reversed(frames):
            replica.answer(frame, bytes(frame.body))
        answers = [await client.answer() for _ in range(4)]
        assert answers == [(200, b"1"), (200, b"2"), (200, b'{"live":true}'), (200, b"3")]


@on_uvloop
async def test_binary_tensors_pass_untouched() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(
            INFER, INPUTS + LARGE, f"Inference-Header-Content-Length: {len(INPUTS)}\r\n"
        )
        frame = await replica.next()
        assert (frame.encoding, frame.json_bytes) == (Encoding.V2_BINARY, len(INPUTS))
        assert frame.body == INPUTS + LARGE
        replica.answer(frame, b"{}" + LARGE, encoding=Encoding.V2_BINARY, json_bytes=2)
        status, headers = await client.head()
        assert (status, headers["inference-header-content-length"]) == (200, "2")
        assert headers["content-type"] == "application/octet-stream"
        assert await client.reader.readexactly(int(headers["content-length"])) == b"{}" + LARGE
        assert rig.gateway.buffered_bytes == 0


@on_uvloop
async def test_large_and_small_answers_in_one_stream() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        replica.echo = True
        clients = [await rig.connect() for _ in range(4)]
        bodies = [LARGE[: 10 ** (i + 3)] for i in range(4)]
        for _ in range(3):
            for client, body in zip(clients, bodies, strict=True):
                client.post(INFER, body)
            for client, body in zip(clients, bodies, strict=True):
                assert await client.answer() == (200, body)


@on_uvloop
async def test_error_answers_pass() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(INFER)
        replica.answer(await replica.next(), b'{"error":"no"}', status=422, encoding=Encoding.ERROR_JSON)
        assert await client.answer() == (422, b'{"error":"no"}')
        assert rig.gateway.models["m"].report().client_errors == 1


@on_uvloop
async def test_held_until_a_replica_is_up() -> None:
    async with Rig() as rig:
        rig.routes()
        clients = [(await rig.connect()).post(INFER) for _ in range(5)]
        assert await rig.event() == {"event": "cold", "model": "m"}
        await rig.settled(lambda: rig.gateway.models["m"].waiting == 5)
        replica = await rig.replica()
        for _ in clients:
            replica.answer(await replica.next())
        assert await gathered(clients) == [200] * 5
        assert rig.gateway.models["m"].report().cold_held == 5


@on_uvloop
async def test_a_batch_in_flight_survives_the_death_of_its_replica() -> None:
    async with Rig() as rig:
        rig.routes()
        first = await rig.replica()
        clients = [(await rig.connect()).post(INFER, b"%d" % i) for i in range(4)]
        assert [(await first.next()).flags for _ in clients] == [0] * 4
        first.die()
        assert (await rig.event())["event"] == "cold"
        second = await rig.replica()
        for _ in clients:
            frame = await second.next()
            assert frame.flags & Flag.ALONE
            assert second.asked.empty()
            second.answer(frame, bytes(frame.body))
        assert [await client.answer() for client in clients] == [(200, b"%d" % i) for i in range(4)]


@on_uvloop
async def test_a_killer_is_named_after_its_second_victim() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(INFER, headers="X-Request-Id: bad\r\n")
        other = await rig.connect()
        for name in ("r1", "r2"):
            await replica.next()
            replica.die()
            if name == "r1":
                replica = await rig.replica("r2")
        status, body = await client.answer()
        assert status == 500
        assert b"request bad" in body
        kinds = [(await rig.event())["event"] for _ in range(2)]
        assert "poison" in kinds
        other.post(INFER)
        replica = await rig.replica("r3")
        replica.answer(await replica.next())
        assert (await other.answer())[0] == 200


@on_uvloop
async def test_a_replica_that_breaks_the_protocol_is_left() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(INFER)
        await replica.next()
        replica.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2)
        # It is connected to again by itself, and the request tried once more
        replica.answer(await replica.next())
        assert (await client.answer())[0] == 200


@on_uvloop
async def test_a_client_that_leaves_is_forgotten() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica(max_outstanding=1)
        leaving, waiting, staying = [(await rig.connect()).post(INFER) for _ in range(3)]
        frame = await replica.next()
        await rig.settled(lambda: rig.gateway.models["m"].waiting == 2)
        waiting.leave()
        await rig.settled(lambda: rig.gateway.models["m"].waiting == 1)
        leaving.leave()
        assert await asyncio.wait_for(replica.cancelled.get(), 5) == frame.request_id
        replica.answer(frame)  # too late: nobody is confused by it
        replica.answer(await replica.next(), b"staying")
        assert await staying.answer() == (200, b"staying")
        assert rig.gateway.models["m"].report().cancelled == 2


@on_uvloop
async def test_a_replica_out_of_the_routes_is_drained() -> None:
    async with Rig() as rig:
        rig.routes()
        old = await rig.replica("old")
        client = (await rig.connect()).post(INFER)
        frame = await old.next()
        rig.routes(replicas={"old": None})
        new = await rig.replica("new")
        second = (await rig.connect()).post(INFER)
        new.answer(await new.next())
        assert (await second.answer())[0] == 200
        old.answer(frame)
        assert (await client.answer())[0] == 200
        assert old.asked.empty()


@on_uvloop
async def test_a_deadline_passes_at_the_replica() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        client = (await rig.connect()).post(INFER, headers="X-Request-Timeout: 0.05\r\n")
        frame = await replica.next()
        status, _ = await client.answer()
        assert status == 504
        assert await asyncio.wait_for(replica.cancelled.get(), 5) == frame.request_id


@on_uvloop
async def test_memory_of_slow_and_large_bodies_is_bounded() -> None:
    limits = Limits(body_bytes=1 << 20, buffered_bytes=4 << 20)
    async with Rig(limits) as rig:
        rig.routes()
        begun = (
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 900_000
        )
        clients = [(await rig.connect()).send(begun) for _ in range(10)]
        assert await gathered(clients[4:]) == [503] * 6
        assert rig.gateway.buffered_bytes <= limits.buffered_bytes
        too_large = (await rig.connect()).send(
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n"
        )
        assert (await too_large.answer())[0] == 413


@on_uvloop
async def test_a_slow_reader_holds_back_its_own_answers_only() -> None:
    async with Rig() as rig:
        rig.routes()
        replica = await rig.replica()
        replica.echo = True
        slow, quick = await rig.connect(), await rig.connect()
        for _ in range(3):
            slow.post(INFER, LARGE)
        await rig.settled(lambda: bool(rig.gateway.stalled))
        quick.post(INFER, b"quick")
        assert await quick.answer() == (200, b"quick")
        for _ in range(3):
            assert await slow.answer() == (200, LARGE)


@on_uvloop
async def test_slowloris() -> None:
    limits = Limits(head_s=0.2, body_s=0.2, linger_s=0.2)
    async with Rig(limits) as rig:
        rig.routes()
        head = (await rig.connect()).send(b"GET /v2 HTTP/1.1\r\nHo")
        body = (await rig.connect()).send(
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na"
        )
        assert await gathered([head, body]) == [408, 408]
        await head.ended()
        await rig.settled(lambda: not rig.gateway.connections)
        assert rig.gateway.buffered_bytes == 0
